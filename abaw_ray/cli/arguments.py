"""Arguments of one command -> its settings. tyro converts the values; this module finds the preset, the videos and the names of options.

Every error is one line: the option as it was typed, and what to write instead.
"""

import contextlib
import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeVar

from abaw_ray.cli.help import Page, show
from abaw_ray.cli.hints import unknown_option, unknown_word
from abaw_ray.cli.options import Option, options_of
from abaw_ray.cluster.machines.compute import compute_preset
from abaw_ray.core.errors import ConfigError

_T = TypeVar("_T")
_VIDEOS = "data.videos"
_NUMBER = re.compile(r"-\.?\d.*")


@dataclass(frozen=True, kw_only=True)
class CommandLine(Generic[_T]):
    """The arguments that one command takes."""

    page: Page
    """Its help."""
    presets: Mapping[str, tuple[str, _T]] = field(default_factory=dict)
    """Name -> description and settings."""
    default: _T | None = None
    """Settings without a preset; None where one must be given."""
    takes_videos: bool = False
    """Whether words that are no option and no preset are videos."""
    word: str = ""
    """Full name of the option that a word without an option gives; empty where words are presets or videos."""
    elsewhere: Callable[[], Mapping[str, list[str]]] = dict
    """Name of an option -> the commands that have it, for messages."""


@dataclass(frozen=True, kw_only=True)
class _Given:
    """An option as it was typed."""

    option: Option
    typed: str
    values: list[str]

    def __str__(self) -> str:
        return " ".join([self.typed, *self.values])


def parse(line: CommandLine[_T], args: list[str]) -> _T:
    """The settings that these arguments select.

    Raises:
        ConfigError: an unknown preset, option or value; in one line, with the most similar name.
        SystemExit: with 0, after ``--help`` and ``--help-all``.
    """
    if wanted := {"-h", "--help", "--help-all"} & set(args):
        preset = next((word.removeprefix("--preset=") for word in args if word.removeprefix("--preset=") in line.presets), "")
        if not preset and line.default is None:
            preset = next(iter(line.presets))
        show(line.page.text(_settings_for(line, preset), line.presets, preset=preset, full="--help-all" in wanted))
        sys.exit(0)
    words, given = _read(line, args)
    if line.word and words:
        words, given = [], [*given, _given_by_word(line, words)]
    preset, videos = _preset_and_videos(line, words, given)
    settings = _settings_for(line, preset)
    if not preset and line.default is None:
        names = ", ".join(line.presets)
        raise ConfigError(f"{line.page.command}: no preset is given; choose one of {names}, for example: {line.page.command} {[*line.presets][-1]}")
    for option in given:
        if option.option.name == "cluster-size" and option.values[0]:
            settings = replace(settings, compute=compute_preset(option.values[0]))  # pyright: ignore[reportCallIssue, reportArgumentType]
    return _convert(settings, given, videos)


def _settings_for(line: CommandLine[_T], preset: str) -> _T:
    """Settings of the preset; without one, those of the command, else of its first preset."""
    if not preset and line.default is not None:
        return line.default
    return line.presets[preset or next(iter(line.presets))][1]


def _read(line: CommandLine[_T], args: list[str]) -> tuple[list[str], list[_Given]]:
    """The words outside of options, and the options with their values; ``--preset`` is one of them."""
    options = options_of(_settings_for(line, ""))
    if line.presets:
        options["preset"] = Option(name="preset", annotation=str, default="", doc="")
    by_name = {name: option for option in options.values() for name in option.names}
    words, given, rest = [], [], list(args)
    while rest:
        word = rest.pop(0)
        if not _is_option(word):
            words.append(word)
            continue
        typed, equals, value = word.partition("=")
        option = by_name.get(typed.replace("_", "-"))
        if option is None:
            if line.takes_videos and Path(word).exists():
                raise ConfigError(f"{word}: is not an option; for the file of this name, write ./{word}")
            raise ConfigError(unknown_option(typed, line.page.command, by_name, line.elsewhere()))
        values = [value] if equals else _take_values(option, rest)
        if option.is_flag and equals:
            raise ConfigError(f"{typed}: takes no value")
        if len(values) < (1 if option.arity is None else option.arity):
            raise ConfigError(f"{' '.join([typed, *values])}: {'too few values' if values else 'has no value'}; {option.expected}")
        given.append(_Given(option=option, typed=typed, values=values))
    return words, given


def _given_by_word(line: CommandLine[_T], words: list[str]) -> _Given:
    if len(words) > 1:
        raise ConfigError(f"{line.page.command}: takes one {line.word.partition('.')[0].upper()}, '{words[0]}'; leave '{words[1]}' out")
    return _Given(option=options_of(_settings_for(line, ""))[line.word], typed=f"--{line.word}", values=words)


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-" and not _NUMBER.fullmatch(word)


def _take_values(option: Option, rest: list[str]) -> list[str]:
    """Remove the values of an option from the front of the remaining words."""
    limit = 1 if option.name == _VIDEOS else option.arity  # a shell's glob gives several words; the others are videos without an option
    values = []
    while rest and (limit is None or len(values) < limit) and not _is_option(rest[0]):
        values.append(rest.pop(0))
    return values


def _preset_and_videos(line: CommandLine[_T], words: list[str], given: list[_Given]) -> tuple[str, list[str]]:
    """The preset, or empty, and the videos."""
    presets = [option.values[0] for option in given if option.option.name == "preset"]
    videos = [option.values[0] for option in given if option.option.name == _VIDEOS]
    for name in presets:
        if name not in line.presets:
            raise ConfigError(unknown_word(f"--preset {name}", name, line.presets))
    for word in words:
        if word in line.presets:
            if line.takes_videos and Path(word).exists():
                raise ConfigError(f"{line.page.command} {word}: a preset and a file have this name; write --preset {word} or ./{word}")
            presets.append(word)
        elif line.takes_videos:
            videos.append(word)
        else:
            raise ConfigError(unknown_word(f"{line.page.command} {word}", word, line.presets))
    if len(set(presets)) > 1:
        raise ConfigError(f"{line.page.command}: two presets are given, {' and '.join(presets)}; choose one")
    return (presets[0] if presets else ""), videos


def _convert(settings: _T, given: list[_Given], videos: list[str]) -> _T:
    """The settings with these values, converted by tyro."""
    import tyro

    args = ["--data.videos", *videos] if videos else []
    for one in given:
        if one.option.name in (_VIDEOS, "preset"):
            continue
        name = one.option.negative if one.typed in one.option.negatives else one.option.full
        if one.option.choices and one.values[0] not in one.option.choices:
            raise ConfigError(f"{one}: choose {_either(one.option.choices)}")
        args += [f"{name}={one.values[0]}"] if one.option.arity == 1 else [name, *one.values]
    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output):
            return tyro.cli(type(settings), default=settings, args=args)
    except ConfigError as error:  # from a check of the settings
        raise ConfigError("".join([*(f"{one}: " for one in _named_in(str(error), given)), str(error)])) from None
    except SystemExit:
        raise ConfigError(_value_error(output.getvalue(), given)) from None


def _either(choices: tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(choices[:-1]), choices[-1])))


def _named_in(message: str, given: list[_Given]) -> Iterator[_Given]:
    """The last option whose setting the message names with its value, unless it names the option in full.

    Several options may end in the same name: ``--encoder.optim.lr`` and ``--sweep.fusion.optim.lr``.
    """
    found = []
    for one in given:
        path = one.option.name.replace("-", "_")
        value = re.search(rf"(?<!\w){path.rpartition('.')[2]}=([^\s;,]*)", message)
        if value and f"{path}=" not in message:
            found.append((one, _is_same(value[1], one.values[0] if one.values else "")))
    named = [one for one, is_same in found if is_same or len(found) == 1]
    yield from named[-1:]


def _is_same(value: str, typed: str) -> bool:
    try:
        return float(value) == float(typed)
    except ValueError:
        return value == typed


def _value_error(output: str, given: list[_Given]) -> str:
    """One line for tyro's boxed message: the option as it was typed, and what it takes."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", " ", output).split())
    for one in given:
        if re.search(rf"{re.escape(one.option.full)}(?![\w.-])", text):
            return f"{one}: {one.option.expected}"
    return text
