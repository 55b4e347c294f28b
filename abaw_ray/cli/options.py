"""Settings -> options of the command line: full dotted names, short names, defaults and descriptions.

The full name of an option is the path of its setting and is the same in every command. A few everyday options have a short name in addition.
"""

import ast
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

SHORT = {
    "ablation.parts": ("--parts",),
    "ablation.seeds": ("--seeds",),
    "analysis.end": ("--end",),
    "analysis.fps": ("--fps",),
    "analysis.people": ("--people",),
    "analysis.start": ("--start",),
    "data.videos": ("--videos",),
    "device.device": ("--device",),
    "faces.chips.keep": ("--chips",),
    "faces.detector.boxes": ("--boxes",),
    "faces.detector.kind": ("--detector",),
    "faces.detector.min-score": ("--min-score",),
    "faces.detector.weights": ("--weights",),
    "faces.people.weights": ("--people-weights",),
    "outputs.embed": ("--embed",),
    "outputs.format": ("--format",),
    "outputs.overlay": ("--overlay",),
    "outputs.report": ("--report",),
    "policy.max-failures": ("--max-failures",),
    "policy.retry-failures": ("--retry-failures",),
    "storage.endpoint": ("--endpoint",),
    "storage.uri": ("-o", "--output", "--storage"),
    "sweep.folds": ("--folds",),
    "sweep.trials": ("--trials",),
}
"""Full name -> short names, the same in every command that has the setting."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One setting as an option."""

    name: str
    """Full name without leading hyphens: ``faces.detector.min-score``."""
    annotation: Any
    """Type of the value."""
    default: Any
    """Value without the option."""
    doc: str
    """Docstring of the setting."""
    section: str = ""
    """Docstring of the group of settings that it belongs to; empty for a setting without a group."""

    @property
    def short(self) -> tuple[str, ...]:
        """Its short names with their hyphens."""
        return SHORT.get(self.name, ())

    @property
    def full(self) -> str:
        """The full name with its hyphens."""
        return f"--{self.name}"

    @property
    def negative(self) -> str:
        """The name that switches a flag off: ``--data.no-use-synthetic``; empty for other options."""
        group, dot, leaf = self.name.rpartition(".")
        return f"--{group}{dot}no-{leaf}" if self.is_flag else ""

    @property
    def negatives(self) -> tuple[str, ...]:
        """All names that switch a flag off."""
        return (self.negative, *(f"--no-{name.removeprefix('--')}" for name in self.short)) if self.is_flag else ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names: short ones, the full one, and those that switch a flag off."""
        return (*self.short, self.full, *self.negatives)

    @property
    def is_flag(self) -> bool:
        """Whether it takes no value."""
        return self.annotation is bool

    @property
    def arity(self) -> int | None:
        """Number of its values; None for one or more."""
        if _is_union(self.annotation) and any(get_origin(part) is tuple for part in get_args(self.annotation)):
            return None
        if get_origin(self.annotation) is tuple:
            types = get_args(self.annotation)
            return None if types[-1] is Ellipsis else len(types)
        return 0 if self.is_flag else 1

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that it takes; empty where there are more than can be listed."""
        return tuple(map(str, get_args(self.annotation))) if get_origin(self.annotation) is Literal else ()

    @property
    def placeholder(self) -> str:
        """Its values in a help page: ``{jpeg,none}``, ``FLOAT FLOAT``."""
        return "" if self.is_flag else " ".join(_placeholders(self.annotation))

    @property
    def expected(self) -> str:
        """What the option takes, for a message: ``give a whole number``, ``give 2 values: FLOAT FLOAT``."""
        if self.arity != 1:
            return f"give {self.arity or 'one or more'} values: {self.placeholder}"
        return f"give {' or '.join(_PLAIN.get(kind, str(kind)) for kind in self.choices or _alternatives(self.annotation))}"


_PLAIN = {int: "a whole number", float: "a number", str: "a value", NoneType: "None"}


def options_of(settings: Any) -> dict[str, Option]:
    """Full name -> option, of all settings below a settings object, in their order."""
    return {option.name: option for option in _options(settings, "", "")}


def _options(settings: Any, prefix: str, section: str) -> Iterator[Option]:
    docs, types = field_docs(type(settings)), get_type_hints(type(settings))
    nested = []
    for field in fields(settings):
        value, name = getattr(settings, field.name), prefix + field.name.replace("_", "-")
        doc = docs.get(field.name, "")
        if is_dataclass(value):
            nested.append((value, f"{name}.", doc))
        else:
            yield Option(name=name, annotation=types[field.name], default=value, doc=doc, section=section)
    for value, name, doc in nested:
        yield from _options(value, name, doc)


def field_docs(owner: type) -> dict[str, str]:
    """Name -> docstring of the fields of a settings class and of its bases, from their source."""
    bases = [base for base in reversed(owner.__mro__) if is_dataclass(base)]
    return {name: doc for base in bases for name, doc in _docs_of_module(base.__module__).get(base.__name__, {}).items()}


@cache
def _docs_of_module(module: str) -> dict[str, dict[str, str]]:
    """Class -> field -> docstring."""
    classes = [node for node in ast.parse(inspect.getsource(sys.modules[module])).body if isinstance(node, ast.ClassDef)]
    return {node.name: dict(_docs_of_class(node)) for node in classes}


def _docs_of_class(definition: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, following in pairwise(definition.body):
        match statement, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, " ".join(text.replace("``", "").split())


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, UnionType)


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The types and literal values of one value."""
    if _is_union(annotation):
        return tuple(kind for part in get_args(annotation) for kind in _alternatives(part))
    return get_args(annotation) if get_origin(annotation) is Literal else (annotation,)


def _placeholders(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is tuple:
        for kind in get_args(annotation):
            yield "..." if kind is Ellipsis else " ".join(_placeholders(kind))
    elif get_origin(annotation) is Literal:
        yield f"{{{','.join(map(str, get_args(annotation)))}}}"
    else:
        names = {int: "INT", float: "FLOAT", str: "TEXT", NoneType: "None"}
        parts = _alternatives(annotation)
        several = {get_args(part)[0] for part in parts if get_origin(part) is tuple}  # "INT ..." says "INT", too
        yield "|".join(
            " ".join(_placeholders(kind)) if get_origin(kind) is tuple else names.get(kind, str(kind)) for kind in parts if kind not in several
        )
