"""Frozen dataclasses of settings -> plain values for records and back, digests for addresses, and copies changed by dotted path.

The dataclasses themselves are in the ``config`` module of each package.
"""

import dataclasses
import difflib
import enum
import hashlib
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from abaw_ray.core.errors import ConfigError

AutoOnOff = Literal["auto", "on", "off"]
"""A choice that ``auto`` leaves to the program."""
NO_RESULT = {"in_digest": False}
"""Metadata of a field that affects no result: ``field(default=..., metadata=NO_RESULT)``."""
_T = TypeVar("_T")


def to_plain(value: Any) -> Any:
    """The settings as dictionaries, lists and scalars that JSON can hold, with every field."""
    return _plain(value, dataclasses.fields)


def from_plain(kind: type[_T], plain: Any, where: str = "") -> _T:
    """The inverse of ``to_plain``: settings of this dataclass, from dictionaries, lists and scalars.

    A field that ``plain`` lacks keeps its default.

    Args:
        kind: A dataclass of settings.
        plain: Its fields by name.
        where: Name of the settings, for messages.

    Raises:
        ConfigError: an unknown field, a required field without a value, or a value that the dataclass refuses.
    """
    if not isinstance(plain, dict):
        raise ConfigError(f"{where or kind.__name__}: {plain!r} are no settings; give one value per field")
    hints = typing.get_type_hints(kind)
    unknown = plain.keys() - hints.keys()
    if unknown:
        raise ConfigError(f"{where or kind.__name__} has no field '{min(unknown)}'; it was written by another version of this package")
    values = {name: _typed(hints[name], value, f"{where}.{name}".lstrip(".")) for name, value in plain.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{where or kind.__name__}: {error}") from error


def _typed(hint: Any, value: Any, where: str) -> Any:
    """The value in the type of its field, as far as JSON has no such type: dataclasses, also in dictionaries, and tuples."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_plain(hint, value, where)
    options = [option for option in typing.get_args(hint) if isinstance(option, type) and dataclasses.is_dataclass(option)]
    if isinstance(value, dict) and len(options) == 1 and typing.get_origin(hint) in (typing.Union, types.UnionType):
        return from_plain(options[0], value, where)
    if isinstance(value, dict) and typing.get_origin(hint) is dict:
        return {name: _typed(typing.get_args(hint)[1], one, f"{where}.{name}") for name, one in value.items()}
    tuples = [option for option in (hint, *typing.get_args(hint)) if typing.get_origin(option) is tuple]
    if isinstance(value, list) and tuples:
        element = typing.get_args(tuples[0])[0]
        return tuple(_typed(element, one, f"{where}[{index}]") for index, one in enumerate(value))
    return value


def digest(value: Any, length: int = 16) -> str:
    """A short hash of settings: equal settings give equal digests on every machine.

    A field with the metadata ``NO_RESULT`` is left out, such as a location.
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


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings -> values by dotted path, as in the command line options."""
    by_path: dict[str, Any] = {}
    for key, value in settings.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            by_path |= flatten(value, f"{path}.")
        else:
            by_path[path] = value
    return by_path


def value_at(settings: Any, path: str) -> Any:
    """The value of a setting by its dotted path."""
    for name in path.split("."):
        settings = getattr(settings, name)
    return settings


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
