"""Expression -> vector of action unit activations; nothing is rendered here.

The action units are a coarse version of FACS. Their activations are ours, tuned so that a small network can classify the expressions and a
linear model on pixels cannot.
"""

import numpy as np
from jaxtyping import Float

ACTION_UNITS: tuple[str, ...] = (
    "brow_in",  # inner ends of the brows: up (+) or down (-)
    "brow_out",  # outer ends
    "frown",  # brows drawn together and down, with furrows between them
    "lid_up",  # upper lids: wide (+) or drooping (-)
    "lid_low",  # lower lids drawn up: a squint
    "nose",  # wrinkled nose, nostrils up
    "cheek",  # raised cheeks, folds beside the mouth
    "corner",  # mouth corners: up (+) or down (-)
    "wide",  # mouth: stretched (+) or narrow (-)
    "jaw",  # jaw dropped
    "lip_up",  # upper lip raised
    "lip_low",  # lower lip drawn down (+) or pushed up by the chin (-)
    "press",  # lips pressed thin
    "pout",  # lips pushed forward
    "teeth",  # teeth bared
    "side",  # one corner of the mouth drawn out and up: right (+) or left (-)
    "brow_side",  # one brow raised: right (+) or left (-)
    "wink",  # one eye shut: right (+) or left (-)
    "puff",  # cheeks blown up
    "tongue",  # tongue shown
    "shut",  # both eyes shut, as in a blink
)
"""Names of the action units, in the order of every activation vector; 0 is neutral, 1 full activation."""

UNIT_INDEX: dict[str, int] = {name: at for at, name in enumerate(ACTION_UNITS)}
"""Action unit -> index in an activation vector."""

_SIDED = [UNIT_INDEX[name] for name in ("side", "brow_side", "wink")]

EXPRESSION_VARIANTS: dict[str, tuple[dict[str, float], ...]] = {
    "Neutral": ({}, {"corner": -0.12, "lid_up": -0.1}, {"press": 0.25, "brow_out": 0.1}),
    "Anger": (
        {"frown": 1, "brow_in": -0.6, "brow_out": 0.25, "lid_up": 0.3, "lid_low": 0.5, "press": 0.9, "corner": -0.25, "wide": -0.1},
        {"frown": 1, "brow_in": -0.7, "brow_out": 0.3, "lid_up": 0.4, "nose": 0.3, "jaw": 0.5, "lip_up": 0.35, "lip_low": 0.5, "teeth": 1},
    ),
    "Disgust": (
        {"nose": 1, "lip_up": 0.9, "cheek": 0.7, "frown": 0.35, "brow_in": -0.3, "lid_low": 0.7, "lid_up": -0.35, "corner": -0.45, "wide": -0.15},
        {"nose": 1, "lip_up": 0.5, "cheek": 0.5, "brow_in": -0.35, "brow_out": -0.2, "lid_low": 0.8, "lid_up": -0.5, "jaw": 0.3, "tongue": 0.9},
    ),
    "Fear": (
        {"brow_in": 1, "brow_out": 0.35, "frown": 0.4, "lid_up": 0.9, "wide": 0.9, "jaw": 0.25, "lip_low": 0.4, "corner": -0.3, "teeth": 0.7},
        {"brow_in": 1, "brow_out": 0.25, "frown": 0.5, "lid_up": 0.8, "wide": 0.7, "press": 0.4, "corner": -0.4, "lip_low": 0.2},
    ),
    "Happiness": (
        {"corner": 1, "cheek": 0.9, "wide": 0.55, "lid_low": 0.55, "teeth": 1, "jaw": 0.25, "lip_up": 0.35},
        {"corner": 0.95, "cheek": 0.7, "wide": 0.4, "lid_low": 0.4, "press": 0.2, "brow_out": 0.15},
    ),
    "Sadness": (
        {"brow_in": 0.9, "brow_out": -0.5, "frown": 0.25, "lid_up": -0.55, "corner": -1, "lip_low": -0.4, "pout": 0.35},
        {"brow_in": 0.8, "brow_out": -0.5, "lid_up": -0.6, "lid_low": 0.4, "corner": -0.85, "jaw": 0.2, "wide": 0.15},
    ),
    "Surprise": (
        {"brow_in": 1, "brow_out": 1, "lid_up": 1, "jaw": 1, "wide": -0.35},
        {"brow_in": 0.9, "brow_out": 0.9, "lid_up": 0.8, "jaw": 0.5, "wide": -0.45, "pout": 0.3},
    ),
    "Contempt": (
        {"side": 1, "cheek": 0.2, "lid_up": -0.3, "press": 0.3, "brow_side": 0.35},
        {"side": 0.9, "press": 0.5, "lid_up": -0.2, "lid_low": 0.2},
    ),
    "Other": (
        {"puff": 1, "press": 0.6, "wide": -0.45, "brow_out": 0.35, "brow_in": 0.2},
        {"wink": 1, "tongue": 1, "corner": 0.5, "jaw": 0.35, "wide": 0.1},
        {"brow_side": 1, "pout": 0.9, "wide": -0.7, "frown": 0.2},
        {"lid_up": -1, "jaw": 0.9, "brow_in": 0.35, "lid_low": 0.4, "wide": -0.1},
    ),
}
"""Variants of each expression. ``Other`` is one of several odd or mixed configurations."""


def sample_activations(rng: np.random.Generator, expression: str, variant: int | None = None) -> Float[np.ndarray, " units"]:
    """Full-intensity activations of an expression: one variant, a random side where it is one-sided, and random variation."""
    forms = EXPRESSION_VARIANTS[expression]
    chance = np.array([2.0 if expression != "Other" and at == 0 else 1.0 for at in range(len(forms))])
    form = forms[int(rng.choice(len(forms), p=chance / chance.sum())) if variant is None else variant]
    vector = np.zeros(len(ACTION_UNITS))
    for name, activation in form.items():
        vector[UNIT_INDEX[name]] = activation
    vector[_SIDED] *= rng.choice([-1.0, 1.0])
    return vector * rng.normal(1.0, 0.12, len(vector))


def sample_habits(rng: np.random.Generator) -> tuple[Float[np.ndarray, " units"], Float[np.ndarray, " units"]]:
    """Gain and resting activation of each action unit of an identity (some neutral faces look sad or stern)."""
    au_gain = np.clip(rng.normal(1.0, 0.15, len(ACTION_UNITS)), 0.6, 1.35)
    au_rest = np.zeros(len(ACTION_UNITS))
    for name, spread in (("brow_in", 0.14), ("brow_out", 0.14), ("frown", 0.12), ("lid_up", 0.14), ("corner", 0.14), ("wide", 0.15), ("press", 0.1)):
        au_rest[UNIT_INDEX[name]] = rng.normal(0, spread)
    return au_gain, au_rest
