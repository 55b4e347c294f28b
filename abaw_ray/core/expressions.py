"""Expression classes of every data set. Classes are mapped between data sets by name, never by index.

The competition's order is that of the annotation files' header (``docs/data.md``). Every data set numbers the same names
differently; mapping by index is a known bug in public code.
"""

import numpy as np
from jaxtyping import Float64, Int

EXPRESSIONS: tuple[str, ...] = ("Neutral", "Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise", "Other")
"""The eight classes of the EXPR track, in the order of the annotation header and of every probability vector of Stage II."""

UNLABELLED = -1
"""Annotation of a frame without a label."""

ENCODER_CLASSES: tuple[str, ...] = (*EXPRESSIONS[:7], "Contempt")
"""Classes of Stage I: the seven that AffectNet and RAF-DB share, and Contempt. ``Other`` is learned in Stage II only."""

AFFECTNET: tuple[str, ...] = ("Neutral", "Happiness", "Sadness", "Surprise", "Fear", "Disgust", "Anger", "Contempt")
"""AffectNet's ids 0..7; 8, 9 and 10 (None, Uncertain, Non-Face) are not expressions."""

RAFDB: tuple[str, ...] = ("Surprise", "Fear", "Disgust", "Happiness", "Sadness", "Anger", "Neutral")
"""RAF-DB's basic ids 1..7; the first name has id 1."""

FERPLUS: tuple[str, ...] = ("Neutral", "Happiness", "Surprise", "Sadness", "Anger", "Disgust", "Fear", "Contempt")
"""FER+'s columns of votes, whose names are these in lower case."""

EXPW: tuple[str, ...] = ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise", "Neutral")
"""ExpW's ids 0..6."""

COLORS: dict[str, str] = {
    "Neutral": "#7f8c8d",
    "Anger": "#c0392b",
    "Disgust": "#6b8e23",
    "Fear": "#8e44ad",
    "Happiness": "#e6a700",
    "Sadness": "#2c6fbb",
    "Surprise": "#e67e22",
    "Other": "#16a085",
}
"""One color for each expression, the same in every plot."""


def class_counts(
    labels: Int[np.ndarray, " n"], classes: int, sample_weights: Float64[np.ndarray, " n"] | None = None
) -> Float64[np.ndarray, " {classes}"]:
    """Number of samples of each class, or the sum of their weights; negative labels are ignored."""
    used = labels >= 0
    return np.bincount(labels[used], None if sample_weights is None else sample_weights[used], minlength=classes).astype(np.float64)


def class_weights(count: Float64[np.ndarray, " classes"]) -> Float64[np.ndarray, " classes"]:
    """Class weights ``n_max / n_c`` of these counts; 0 for a class without examples.

    Source: several winners of earlier ABAW competitions use these weights (``docs/data.md``).
    """
    return np.divide(count.max(initial=0.0), count, out=np.zeros_like(count), where=count > 0)
