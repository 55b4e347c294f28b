"""Whether Stage I trains on the scales at which features are extracted: from the settings, and from the images once they are prepared."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.stages.stage_one.images import INGEST_IMAGES
from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.config import SCALE_TOLERANCE

_MIN_SHARE = 0.1
"""Smallest share of training images that reach the largest scale of the features without a warning. Ours."""


def feature_scales(config: Any) -> tuple[float, ...]:
    """The scales at which features are extracted; a job without settings of features has those of the chips."""
    features = getattr(config, "features", None)
    return (features.visual.scales if features else ()) or config.faces.chips.scales


def check_scales(run: Run[Any]) -> None:
    """Check that training covers at least one scale of the features.

    Raises:
        ConfigError: it covers none.
    """
    scales, trained = feature_scales(run.config), run.config.encoder.augment.scales
    if not run.config.encoder.path and not any(_covers(trained, scale) for scale in scales):
        raise ConfigError(f"{_uncovered(scales, trained)}, none of which is trained; {_remedy(scales)}")


def scale_warnings(run: Run[Any]) -> tuple[str, ...]:
    """Sentences about scales of the features that training hardly covers, by its settings or by what the prepared images show."""
    if run.config.encoder.path:  # its training is unknown
        return ()
    scales, trained = feature_scales(run.config), run.config.encoder.augment.scales
    outside = tuple(scale for scale in scales if not _covers(trained, scale))
    warnings = (f"{_uncovered(outside, trained)}; {_remedy(scales)}",) if outside else ()
    record = INGEST_IMAGES.record(run)
    return warnings + (_short_images(record.figures["data_sets"], max(scales)) if record else ())


def _covers(trained: tuple[float, float], scale: float) -> bool:
    return trained[0] * (1 - SCALE_TOLERANCE) <= scale <= trained[1] * (1 + SCALE_TOLERANCE)


def _uncovered(scales: tuple[float, ...], trained: tuple[float, float]) -> str:
    listed = ", ".join(f"{scale:g}" for scale in scales)
    return f"encoder.augment.scales={trained[0]:g} to {trained[1]:g} do not include the features' scales {listed}"


def _remedy(scales: tuple[float, ...]) -> str:
    return f"set encoder.augment.scales to {min(scales):g} {max(scales):g}, or change features.visual.scales"


def _short_images(data_sets: Mapping[str, Mapping[str, Any]], largest: float) -> tuple[str, ...]:
    """A warning where few training images show as much around the face as the largest crops of the features."""
    known = {name: (counts["scales"], counts["train"]) for name, counts in data_sets.items() if counts["scales"]}
    if not known:
        return ()
    shares = {name: _share_from(deciles, largest * (1 - SCALE_TOLERANCE)) for name, (deciles, _) in known.items()}
    share = sum(shares[name] * count for name, (_, count) in known.items()) / sum(count for _, count in known.values())
    if share >= _MIN_SHARE:
        return ()
    medians = ", ".join(f"{name} {deciles[5]:.2f}" for name, (deciles, _) in known.items())
    return (
        f"{share:.0%} of the training images reach the features' largest scale {largest:g}, because their pictures end sooner "
        f"(median scale: {medians}); set smaller features.visual.scales, or add images with more around the face",
    )


def _share_from(deciles: list[float], scale: float) -> float:
    """Fraction of images whose scale is at least this one."""
    if scale <= deciles[0]:
        return 1.0
    return 1 - float(np.interp(scale, deciles, np.linspace(0, 1, len(deciles))))
