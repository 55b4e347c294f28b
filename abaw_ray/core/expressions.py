"""The expressions of every data set, and the one place where their numbers meet: always by name, never by index.

The competition's order is that of the annotation files' header (``DATA.md`` section 1). AffectNet and RAF-DB number the same
words differently; a mapping by index has cost public code whole papers.
"""

import numpy as np
from jaxtyping import Int

EXPRESSIONS: tuple[str, ...] = ("Neutral", "Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise", "Other")
"""The eight classes of the EXPR track, in the order of the annotation header and of every probability vector of Stage II."""

UNLABELLED = -1
"""Annotation of a frame that nobody labelled."""

ENCODER_CLASSES: tuple[str, ...] = (*EXPRESSIONS[:7], "Contempt")
"""Stage I's own classes: the seven that AffectNet and RAF-DB share, and Contempt. ``Other`` is learnt in Stage II only."""

AFFECTNET: tuple[str, ...] = ("Neutral", "Happiness", "Sadness", "Surprise", "Fear", "Disgust", "Anger", "Contempt")
"""AffectNet's ids 0..7; 8, 9 and 10 (None, Uncertain, Non-Face) carry no expression."""

RAFDB: tuple[str, ...] = ("Surprise", "Fear", "Disgust", "Happiness", "Sadness", "Anger", "Neutral")
"""RAF-DB's basic ids 1..7, first name for id 1."""

COLOURS: dict[str, str] = {
    "Neutral": "#7f8c8d",
    "Anger": "#c0392b",
    "Disgust": "#6b8e23",
    "Fear": "#8e44ad",
    "Happiness": "#e6a700",
    "Sadness": "#2c6fbb",
    "Surprise": "#e67e22",
    "Other": "#16a085",
}
"""One colour an expression, the same in every picture."""


def class_weights(labels: Int[np.ndarray, " n"], classes: int) -> np.ndarray:
    """Weights ``n_max / n_c`` of the classes, 0 for a class without any example.

    Source: several first places of earlier ABAW competitions weight so (``DATA.md`` section 3).
    """
    count = np.bincount(labels[labels >= 0], minlength=classes).astype(np.float64)
    return np.divide(count.max(initial=0.0), count, out=np.zeros(classes), where=count > 0)
