"""Frozen dataclasses of settings -> plain values for records, digests for addresses, and copies changed by dotted path.

The dataclasses themselves are in the ``config`` module of each package.
"""

import dataclasses
import difflib
import enum
import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from abaw_ray.core.errors import ConfigError

_T = TypeVar("_T")


def to_plain(value: Any) -> Any:
    """The settings as dictionaries, lists and scalars that JSON can hold, with every field."""
    return _plain(value, dataclasses.fields)


def digest(value: Any, length: int = 16) -> str:
    """A short hash of settings: equal settings give equal digests on every machine.

    A field with ``field(default=..., metadata={"in_digest": False})`` is left out: it gives a location, which does not affect the result.
    """
    text = json.dumps(_plain(value, _hashed_fields), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _hashed_fields(settings: Any) -> list[dataclasses.Field]:
    return [field for field in dataclasses.fields(settings) if field.metadata.get("in_digest", True)]


def _plain(value: Any, fields_of: Callable[[Any], Iterable[dataclasses.Field]]) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name), fields_of) for field in fields_of(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item, fields_of) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, fields_of) for item in value]
    if isinstance(value, enum.Enum | Path):
        return str(value)
    return value


def replace_at(settings: _T, changes: dict[str, Any]) -> _T:
    """A copy with the values at dotted paths replaced; the command line and the sweep use the same paths.

    Raises:
        ConfigError: a path names no field; the message suggests the nearest name.
    """
    for path, value in changes.items():
        settings = _replace_one(settings, path, path.split("."), value)
    return settings


def _replace_one(settings: Any, path: str, names: list[str], value: Any) -> Any:
    known = [field.name for field in dataclasses.fields(settings)] if dataclasses.is_dataclass(settings) else []
    name, *rest = names
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; it has {', '.join(known) or 'no fields'}"
        raise ConfigError(f"{path}: {type(settings).__name__} has no field '{name}'{hint}")
    inner = _replace_one(getattr(settings, name), path, rest, value) if rest else value
    return dataclasses.replace(settings, **{name: inner})  # pyright: ignore[reportArgumentType] (a dataclass: it has this field)
