"""Makes the bundle of a trained audio-visual model: encoder, speech model, fusion models and postprocessing of one training run."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from abaw_ray.core.model_card import CARD_FILE
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.encoder.output.head import HEAD_CONFIG_FILE, HEAD_WEIGHTS_FILE
from abaw_ray.faces.config import DetectorConfig, FacesConfig
from abaw_ray.features.config import FeaturesConfig, RandomWav2VecConfig
from abaw_ray.features.wav2vec import save_speech_model
from abaw_ray.predict.bundle.metadata import ENCODER_FOLDER, FUSION_FOLDER, SPEECH_FOLDER, BundleMetadata
from abaw_ray.predict.bundle.store import finish_bundle


def write_audio_visual(
    folder: Path, metadata: BundleMetadata, *, encoder: Path, fusion: Mapping[str, Path], storage: StorageConfig | None = None
) -> BundleMetadata:
    """Write a bundle into an empty local folder.

    Args:
        folder: The folder.
        metadata: Description with the settings of training; ``fusion``, ``files`` and the locations of weights are filled in.
        encoder: Folder of the saved encoder.
        fusion: Folders of the saved fusion models by name.
        storage: Settings of object stores, for a speech model at a URI.

    Returns:
        The complete metadata.

    Raises:
        ConfigError: the speech model does not exist.
        DataError: the speech model is not complete.
        StorageError: the object store of the speech model cannot be read.
    """
    unused = shutil.ignore_patterns(CARD_FILE, HEAD_CONFIG_FILE, HEAD_WEIGHTS_FILE)  # the bundle has a card of its own, and fusion models
    shutil.copytree(encoder, folder / ENCODER_FOLDER, ignore=unused)
    for name, source in fusion.items():
        shutil.copytree(source, folder / FUSION_FOLDER / name)
    repository = save_speech_model(folder / SPEECH_FOLDER, metadata.features.speech, storage)
    return finish_bundle(
        folder,
        replace(
            metadata,
            kind="audio-visual",
            faces=portable_faces(metadata.faces),
            features=_portable_features(metadata.features, repository),
            fusion=tuple(f"{FUSION_FOLDER}/{name}" for name in fusion),
        ),
    )


def portable_faces(faces: FacesConfig) -> FacesConfig:
    """The settings without locations on the machine of the training."""
    detector = replace(faces.detector, weights=DetectorConfig().weights, boxes="")
    kind = DetectorConfig().kind if detector.kind == "given" else detector.kind
    people = replace(faces.people, weights="")
    return replace(faces, detector=replace(detector, kind=kind), people=people, chips=replace(faces.chips, keep="jpeg"))


def _portable_features(features: FeaturesConfig, repository: str) -> FeaturesConfig:
    return replace(
        features,
        visual=replace(features.visual, logits=False),
        speech=replace(features.speech, weights=repository or SPEECH_FOLDER, random=RandomWav2VecConfig()),
    )
