"""Help pages of a command: the everyday options on one page, all options on another."""

import re
import shutil
import signal
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from abaw_ray.cli.options import Option, options_of

_INDENT = " " * 8


@dataclass(frozen=True, kw_only=True)
class Page:
    """Texts of the help of one command."""

    command: str
    """The command as it is typed: ``abaw-ray faces``."""
    does: str
    """What it does, in a sentence or two."""
    arguments: str
    """Its words, for the line of usage: ``[VIDEO ...]``."""
    examples: tuple[str, ...]
    """Command lines."""
    everyday: tuple[str, ...]
    """Full names of the options of the everyday page."""
    notes: tuple[str, ...] = ()
    """Further paragraphs before the options."""

    def text(self, settings: Any, presets: Mapping[str, tuple[str, Any]], *, preset: str = "", full: bool = False) -> str:
        """The page for these settings, whose values are the defaults that it shows.

        Args:
            settings: Settings of the command.
            presets: Name -> description and settings.
            preset: Name of the preset that has these settings; empty for settings without one.
            full: Whether to list all options, not only the everyday ones.
        """
        options = options_of(settings)
        head = [f"usage: {self.command} {self.arguments}".rstrip(), "", *_wrap(self.does, "")]
        for note in self.notes:
            head += ["", *_wrap(note, "")]
        head += ["", "examples", *(f"  {example}" for example in self.examples), ""]
        if presets:
            width = max(map(len, presets))
            head += [
                "presets, as a word or --preset NAME (together with --help: its values)",
                *(f"  {name.ljust(width)}  {text}" for name, (text, _) in presets.items()),
                "",
            ]
        head += [f"options [defaults{f' of {preset}' if preset else ''}]; full names are the same in every command"]
        if full:
            return "\n".join([*head, *_all(options.values())])
        shown = [line for name in self.everyday for line in _entry(options[name], brief=True)]
        return "\n".join([*head, *shown, "  -h, --help", f"{_INDENT}This page.", "  --help-all", f"{_INDENT}All {len(options)} options."])


def show(text: str) -> None:
    """Print a page; a pager that closes early ends the process without a traceback."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    print(text, flush=True)


def _all(options: Iterable[Option]) -> Iterator[str]:
    """All options in their groups."""
    group = None
    for option in options:
        name = option.name.rpartition(".")[0]
        if re.search(r"\.[1-9]\d*$", name):
            continue  # the first of several equal groups stands for all of them
        if name != group:
            group = name
            yield from ["", *_wrap(f"{name}: {option.section}", "")] if name else []
        yield from _entry(option, brief=False)


def _entry(option: Option, *, brief: bool) -> Iterator[str]:
    """An option in a page; in brief: without the name that switches a flag off, and with the first sentence of its description."""
    names = [name for name in option.names if not brief or name != option.negative]
    yield f"  {', '.join(names)} {option.placeholder}".rstrip()
    text = re.split(r"(?<=[.?])\s", option.doc)[0] if brief else option.doc
    yield from _wrap(f"{text} {_default(option)}".strip(), _INDENT)


def _default(option: Option) -> str:
    value = option.default
    if value is None or value is False or value in ("", ()):
        return ""
    shown = " ".join(map(str, value)) if isinstance(value, tuple) else "yes" if value is True else value
    return f"[{shown}]"


def _wrap(text: str, indent: str) -> list[str]:
    width = min(shutil.get_terminal_size().columns, 100)
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
