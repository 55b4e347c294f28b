"""Expression -> vector of action unit activations; nothing is rendered here.

The action units are a coarse version of FACS; the comments give the nearest FACS codes. Their activations are ours, tuned so that a small
network can classify the expressions and a linear model on pixels cannot.
"""

import numpy as np
from jaxtyping import Float

ACTION_UNITS: tuple[str, ...] = (
    "brow_in",  # inner ends of the brows: up (+, AU1) or down (-)
    "brow_out",  # outer ends: up (+, AU2) or down (-)
    "frown",  # brows drawn together and down, with furrows between them (AU4)
    "lid_up",  # upper lids: raised (+, AU5) or drooping (-)
    "lid_low",  # lower lids raised, as in a squint (AU7)
    "nose",  # wrinkled nose, nostrils raised (AU9)
    "cheek",  # raised cheeks, folds beside the mouth (AU6)
    "corner",  # mouth corners: up (+, AU12) or down (-, AU15)
    "wide",  # mouth: stretched (+, AU20) or narrow (-, AU18)
    "jaw",  # jaw dropped (AU26)
    "lip_up",  # upper lip raised (AU10)
    "lip_low",  # lower lip drawn down (+, AU16) or pushed up by the chin (-, AU17)
    "press",  # lips pressed together (AU24)
    "pout",  # lips pushed forward (AU22)
    "teeth",  # teeth shown between parted lips (AU25)
    "side",  # one corner of the mouth drawn out and up: right (+) or left (-) (unilateral AU14)
    "brow_side",  # one brow raised: right (+) or left (-) (unilateral AU2)
    "wink",  # one eye shut: right (+) or left (-) (AU46)
    "puff",  # cheeks puffed (AD34)
    "tongue",  # tongue shown (AD19)
    "shut",  # both eyes shut, as in a blink (AU45)
)
"""Names of the action units, in the order of every activation vector; 0 is neutral, 1 full activation."""

UNIT_INDEX: dict[str, int] = {name: index for index, name in enumerate(ACTION_UNITS)}
"""Action unit -> index in an activation vector."""

_UNILATERAL = [UNIT_INDEX[name] for name in ("side", "brow_side", "wink")]

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
"""Variants of each expression: activations by action unit. ``Other`` has several unusual or mixed configurations."""


def sample_activations(rng: np.random.Generator, expression: str, variant: int | None = None) -> Float[np.ndarray, " units"]:
    """Activations of an expression at full intensity: one variant, a random side for unilateral units, and random variation."""
    variants = EXPRESSION_VARIANTS[expression]
    weights = np.array([2.0 if expression != "Other" and index == 0 else 1.0 for index in range(len(variants))])
    chosen = variants[int(rng.choice(len(variants), p=weights / weights.sum())) if variant is None else variant]
    vector = np.zeros(len(ACTION_UNITS))
    for name, activation in chosen.items():
        vector[UNIT_INDEX[name]] = activation
    vector[_UNILATERAL] *= rng.choice([-1.0, 1.0])
    return vector * rng.normal(1.0, 0.12, len(vector))


def sample_habits(rng: np.random.Generator) -> tuple[Float[np.ndarray, " units"], Float[np.ndarray, " units"]]:
    """Gain and resting activation of each action unit of an identity (some people look sad or stern at rest)."""
    au_gain = np.clip(rng.normal(1.0, 0.15, len(ACTION_UNITS)), 0.6, 1.35)
    au_rest = np.zeros(len(ACTION_UNITS))
    for name, std in (("brow_in", 0.14), ("brow_out", 0.14), ("frown", 0.12), ("lid_up", 0.14), ("corner", 0.14), ("wide", 0.15), ("press", 0.1)):
        au_rest[UNIT_INDEX[name]] = rng.normal(0, std)
    return au_gain, au_rest
