"""Names of a classifier's classes -> the eight expressions. Classes are mapped by name, never by index."""

from collections.abc import Sequence
from typing import Literal

from abaw_ray.core.errors import ConfigError

Contempt = Literal["drop", "other"]
_CONTEMPT = "contempt"
_IGNORED = "-"
_SYNONYMS = {
    "Neutral": ("neutral", "neutrality", "natural", "calm"),
    "Anger": ("anger", "angry"),
    "Disgust": ("disgust", "disgusted"),
    "Fear": ("fear", "fearful", "afraid", "scared"),
    "Happiness": ("happiness", "happy", "joy", "joyful"),
    "Sadness": ("sadness", "sad"),
    "Surprise": ("surprise", "surprised"),
    "Other": ("other", "others"),
    _CONTEMPT: ("contempt", "contemptuous"),
}
_EXPRESSION = {word: expression for expression, words in _SYNONYMS.items() for word in words}
_EXAMPLE = "--labels neutral,happy,sad,... with one name per class, in the order of its outputs, and - for a class to leave out"


def map_labels(labels: Sequence[str], *, contempt: Contempt = "drop", source: str = "labels") -> tuple[str, ...]:
    """The expression of each class; empty for a class that is left out.

    Args:
        labels: Names of the classes in any case; ``-`` leaves a class out.
        contempt: ``drop`` leaves Contempt out, which the eight expressions lack; ``other`` adds it to Other.
        source: Name of the classifier, for messages.

    Raises:
        ConfigError: a name is unknown or a number, or two classes are the same expression.
    """
    unnamed = [label for label in labels if label.lower().removeprefix("label_").strip().isdigit()]
    if unnamed:
        raise ConfigError(f"{source}: its {len(labels)} classes have no names ('{unnamed[0]}'); give {_EXAMPLE}")
    mapped = [label if label == _IGNORED else _EXPRESSION.get(label.strip().lower(), "") for label in labels]
    unknown = [label for label, expression in zip(labels, mapped, strict=True) if not expression]
    if unknown:
        names = ", ".join(words[0] for words in _SYNONYMS.values())
        raise ConfigError(f"{source}: class '{unknown[0][:40]}' is none of {names}; give {_EXAMPLE}")
    for index, expression in enumerate(mapped):
        if expression != _IGNORED and expression in mapped[:index]:
            raise ConfigError(f"{source}: '{labels[mapped.index(expression)]}' and '{labels[index]}' are the same expression; give {_EXAMPLE}")
    expressions = {_IGNORED: "", _CONTEMPT: "Other" if contempt == "other" else ""}
    return tuple(expressions.get(expression, expression) for expression in mapped)


def split_labels(text: str, classes: int, source: str) -> tuple[str, ...]:
    """The names in a value of ``--labels``.

    Raises:
        ConfigError: there are not as many as the classifier has classes.
    """
    labels = tuple(label.strip() for label in text.split(","))
    if len(labels) != classes:
        raise ConfigError(f"--labels {text}: has {len(labels)} names, {source} has {classes} classes; give {_EXAMPLE}")
    return labels
