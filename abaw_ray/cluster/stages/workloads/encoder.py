"""Images of Stage I, and faces of features -> arithmetic of the encoder and of the speech model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from abaw_ray.cluster.engine.run import Run, once_per_run
from abaw_ray.cluster.engine.workload import Workload
from abaw_ray.core.stage_store.record import Item, Record
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.encoder.search.candidates import expected_epochs
from abaw_ray.encoder.search.config import EncoderSearchConfig
from abaw_ray.features.config import SpeechConfig
from abaw_ray.predict.estimate.measured import CPU
from abaw_ray.predict.estimate.model import BASE_SPEECH, speech_gflop, transformer_gflop

_READ_MS = 1.47
"""CPU time of one training image: JPEG, crop, augmentation (docs/performance.md, measured 2026-11-27)."""
_CHIP_MS = 0.78
"""CPU time of one chip for an encoder: JPEG and filling the batch (docs/decisions.md, measured 2026-11-28)."""
_INGEST_MS = 9.0
"""CPU time of one still image of 425 pixels: JPEG, YuNet, crop, JPEG (docs/performance.md, measured 2026-11-29)."""
_SOURCES = ("readers of images and chips: docs/performance.md, 2026-11-27 and 2026-11-28",)


@once_per_run
def encoder_gflop(run: Run[Any]) -> float:
    """Arithmetic of the run's encoder for one image, in 10^9 operations.

    Raises:
        ConfigError: timm has no such model, or the encoder at ``encoder.path`` cannot be read.
    """
    from abaw_ray.encoder.model import check_architecture, parameters_and_shape
    from abaw_ray.encoder.vit.preprocessing import preprocessing_of
    from abaw_ray.encoder.vit.saved_encoder import SavedEncoder

    config: EncoderConfig = run.config.encoder
    if config.path:
        saved = SavedEncoder(config.path, run.config.storage)
        saved.check()
        name, arguments = saved.timm_arguments()
    else:
        check_architecture(config.model)
        name, arguments = config.model.name.partition(".")[0], config.model.timm_arguments(preprocessing_of(config.model).img_size)
    parameters, shape = parameters_and_shape(name, arguments)
    return transformer_gflop(parameters, shape.tokens, shape.dim)


def images_workload(todo: Mapping[Item, dict] | None) -> Workload | None:
    """Detection and cropping of the still images of unfinished shards."""
    if todo is None:
        return None
    count = sum(len(shard["stills"]) for shard in todo.values())
    source = "still images of 425 pixels: docs/performance.md, 2026-11-29"
    return Workload(text=f"{count:,} still images", cpu_s=count * _INGEST_MS / 1e3, sources=(source,))


def training_workload(run: Run[Any], train: float, val: float, epochs: int, trainings: int = 1, done: float = 0.0) -> Workload:
    """Trainings over images, each with validation after every epoch.

    Args:
        run: Settings of the encoder.
        train: Training images of one epoch.
        val: Validation images.
        epochs: Passes over both.
        trainings: Number of equal trainings.
        done: How many of them are done; an interrupted one counts as the fraction that its newest checkpoint contains.
    """
    epochs_left, gflop = epochs * (trainings - done), encoder_gflop(run)
    seen, scored = epochs_left * train, epochs_left * val
    factor = 4 if run.compute.recompute_activations else 3  # forward pass, and twice as much backward
    times = f"{trainings} trainings of " if trainings > 1 else ""
    return Workload(
        text=f"{times}{epochs} epoch{'' if epochs == 1 else 's'} over {train:,.0f} images{done_text(done / trainings)}",
        cpu_s=(seen + scored) * _READ_MS / 1e3,
        images=factor * seen + scored,
        gflop=scored * gflop,
        training_gflop=factor * seen * gflop,
        sources=_SOURCES,
    )


def done_text(fraction: float) -> str:
    """Addition to a text about trainings that were interrupted; empty where none was."""
    return f", {math.floor(100 * fraction)}% already done" if fraction else ""


def search_workload(run: Run[Any], train: float, val: float, ended: Sequence[int]) -> Workload:
    """The trials of Stage I's search that have not ended; those that were interrupted begin again.

    Args:
        run: Settings of the encoder and of the search.
        train: All training images.
        val: Validation images, on all of which every trial is measured after each epoch.
        ended: Number of epochs of each trial that has ended in an earlier run.
    """
    search: EncoderSearchConfig = run.config.search
    trials, used = search.trials - len(ended), min(train, search.images)
    epochs = max(expected_epochs(search) - sum(ended), trials * search.grace_epochs) if trials else 0
    text = f"{trials:,} trials of up to {search.epochs} epochs over {used:,.0f} images, about {epochs:,} epochs in all"
    busy = max(epochs // search.epochs, 1)  # workers that have work until the end: the epochs of the best trial follow each other
    return replace(training_workload(run, used, val, epochs), text=text, parallel=busy)


def counted_images(images: Record) -> tuple[float, float]:
    """Training and validation images of the complete stage of still images."""
    data_sets = images.figures["data_sets"].values()
    return sum(one["train"] for one in data_sets), sum(one["val"] for one in data_sets)


def features_workload(run: Run[Any], faces: float, audio_s: float) -> Workload:
    """Vectors of faces at every scale, and of the speech.

    Args:
        run: Settings of features, chips and encoder.
        faces: Faces, once for each encoder.
        audio_s: Seconds of audio; 0 for visual vectors alone.
    """
    speech, scales = run.config.features.speech, len(run.config.features.visual.scales or run.config.faces.chips.scales)
    spoken = faces * speech.window_s if speech.mode == "windows" and audio_s else audio_s
    sound = f", {audio_s / 3600:,.0f} h of sound" if audio_s >= 3600 else ""
    return Workload(
        text=f"{faces:,.0f} faces at {scales} scale{'' if scales == 1 else 's'}{sound}",
        cpu_s=(faces * _CHIP_MS + audio_s * CPU.sound_ms) / 1e3,
        images=faces * scales,
        gflop=faces * scales * encoder_gflop(run) + spoken * speech_gflop(_speech_sizes(speech), speech),
        sources=_SOURCES,
    )


def _speech_sizes(speech: SpeechConfig) -> dict[str, Any]:
    """Sizes of the speech model; those of Wav2Vec 2.0 base for all that is not random."""
    if speech.weights != "random":
        return BASE_SPEECH
    sizes, layers = asdict(speech.random), len(speech.random.conv_kernel)
    fixed = {"intermediate_size": 2 * speech.random.hidden_size, "num_conv_pos_embeddings": 32, "num_conv_pos_embedding_groups": 16}
    return sizes | fixed | {"conv_dim": (speech.random.conv_dim,) * layers}
