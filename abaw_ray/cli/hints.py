"""Messages for unknown options and words: the most similar name, or the command that has the option."""

import difflib
from collections.abc import Iterable, Mapping

from abaw_ray.cli.options import Option

_OTHER_WORDS = {"device": "cluster-size", "gpu": "cluster-size", "gpus": "cluster-size", "cuda": "cluster-size", "input": "videos", "out": "output"}
"""Names of other programs for settings of this one."""


def unknown_option(typed: str, command: str, names: Mapping[str, Option], elsewhere: Mapping[str, list[str]]) -> str:
    """The message for an option that the command does not have.

    Args:
        typed: The option as it was typed.
        command: The command, as it is typed.
        names: Name with hyphens -> option, of this command.
        elsewhere: Name with hyphens -> commands that have the option.
    """
    see = f"see {command} --help-all"
    if commands := elsewhere.get(typed.replace("_", "-")):
        return f"{typed} is an option of {_list(commands, 'and')}, not of {command}; {see}"
    similar = _similar(typed.lstrip("-").replace("_", "-"), names)
    return f"unknown option {typed}; did you mean {_list(similar, 'or')}? ({see})" if similar else f"unknown option {typed}; {see}"


def unknown_word(where: str, word: str, known: Iterable[str]) -> str:
    """The message for a word that is none of the known ones; ``where`` is its place on the command line."""
    if not (names := list(known)):
        return f"{where}: takes no words besides options; leave '{word}' out"
    similar = difflib.get_close_matches(word, names, n=1)
    return f"{where}: there is no preset '{word}'; " + (f"did you mean {similar[0]}?" if similar else f"choose {_list(names, 'or')}")


def _similar(name: str, names: Mapping[str, Option]) -> list[str]:
    """The names that the user may have meant, at most three: those that end with the name, else the most similar one."""
    if f"--{_OTHER_WORDS.get(name, '')}" in names:
        return [f"--{_OTHER_WORDS[name]}"]
    endings: dict[str, list[str]] = {}
    for full, option in names.items():
        parts = full.lstrip("-").split(".")
        for start in range(len(parts)):
            endings.setdefault(".".join(parts[start:]), []).append(_best_name(full, option))
    if name in endings:
        return list(dict.fromkeys(endings[name]))[:3]
    close = difflib.get_close_matches(name, endings, n=1)
    return list(dict.fromkeys(endings[close[0]]))[:3] if close else []


def _best_name(name: str, option: Option) -> str:
    """The name of an option to suggest: a short one if it has any."""
    return name if not option.short or name in option.short else option.short[-1]


def _list(names: list[str], word: str) -> str:
    return f" {word} ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""
