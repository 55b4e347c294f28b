"""The parts of the method that an ablation takes away: the settings without each, and the scores that are compared."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from abaw_ray.cluster.launch.config import AblationJob, Part
from abaw_ray.core.errors import ConfigError

OFFICIAL, AUDIO_MASKED, FACES_MASKED = "official", "official_without_audio", "official_without_faces"


@dataclass(frozen=True)
class Comparison:
    """Two scores of Validation_Set; the names are those of ``RECORDINGS_FILE``."""

    with_part: str
    without_part: str
    scored: str = "Validation_Set"
    """What is scored, for the table."""


@dataclass(frozen=True)
class Ablation:
    """One part of the method."""

    claim: str
    """The part, for the table."""
    instead: str
    """What takes its place."""
    comparisons: tuple[Comparison, ...]
    change: Callable[[AblationJob], AblationJob] | None = None
    """The settings without the part; None where the scores are those of models that every run trains or evaluates anyway."""


def _without_padaug(config: AblationJob) -> AblationJob:
    augment = config.encoder.augment
    return replace(config, encoder=replace(config.encoder, augment=replace(augment, padaug=replace(augment.padaug, probability=0.0))))


def _one_expert(config: AblationJob) -> AblationJob:
    return replace(config, encoder=replace(config.encoder, moe=replace(config.encoder.moe, num_experts=1, top_k=1)))


def _one_scale(config: AblationJob) -> AblationJob:
    scales = config.features.visual.scales or config.faces.chips.scales
    return replace(config, features=replace(config.features, visual=replace(config.features.visual, scales=(scales[len(scales) // 2],))))


def _mean_for_gate(config: AblationJob) -> AblationJob:
    sweep = config.sweep
    space = replace(sweep.search_space, gate=("mean",))
    return replace(config, sweep=replace(sweep, search_space=space, fusion=replace(sweep.fusion, gate="mean")))


def _without_modality_dropout(config: AblationJob) -> AblationJob:
    sweep = config.sweep
    space = replace(sweep.search_space, modality_dropout=(0.0, 0.0))
    return replace(config, sweep=replace(sweep, search_space=space, fusion=replace(sweep.fusion, modality_dropout=0.0)))


_SAME = Comparison(OFFICIAL, OFFICIAL)
PARTS: dict[Part, Ablation] = {
    "padaug": Ablation("PadAug", "training views without it", (_SAME,), _without_padaug),
    "moe": Ablation("mixture of experts", "one expert of the same size", (_SAME,), _one_expert),
    "scales": Ablation("three scales", "the middle one alone", (_SAME,), _one_scale),
    "audio": Ablation(
        "audio",
        "a model of the faces alone; the same model with audio masked",
        (Comparison(OFFICIAL, "visual", "against a model of the faces"), Comparison(OFFICIAL, AUDIO_MASKED, "against audio masked")),
    ),
    "faces": Ablation(
        "faces",
        "a model of the audio alone; the same model with faces masked",
        (Comparison(OFFICIAL, "speech", "against a model of the audio"), Comparison(OFFICIAL, FACES_MASKED, "against faces masked")),
    ),
    "gate": Ablation("gate", "the mean of both vectors", (_SAME,), _mean_for_gate),
    "smoothing": Ablation("smoothing", "the frames' own scores", (Comparison(OFFICIAL, "official_unsmoothed"),)),
    "modality_dropout": Ablation(
        "modality dropout",
        "training with all vectors",
        (
            _SAME,
            Comparison(AUDIO_MASKED, AUDIO_MASKED, "both with audio masked"),
            Comparison(FACES_MASKED, FACES_MASKED, "both with faces masked"),
        ),
        _without_modality_dropout,
    ),
}


def without(config: AblationJob, part: Part) -> AblationJob | None:
    """The settings without a part; None where the full run has the scores.

    Raises:
        ConfigError: the settings do not have the part.
    """
    change = PARTS[part].change
    if change is None:
        return None
    changed = change(config)
    if changed == config:
        raise ConfigError(f"ablation.parts={part}: these settings are without it already ({PARTS[part].instead}); leave it out")
    return changed
