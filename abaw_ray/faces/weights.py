"""Weights of the networks that find and identify faces, as the driver or the caller loads them for workers and child processes."""

from dataclasses import dataclass

from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.faces.config import DetectorConfig, FacesConfig
from abaw_ray.faces.detection.weights import yunet_weights
from abaw_ray.faces.identity.sface_weights import sface_weights


@dataclass(frozen=True, kw_only=True)
class FaceWeights:
    """Weights of the networks that find and identify faces; None for one that is not used."""

    detector: bytes | None = None
    """YuNet's."""
    embedder: bytes | None = None
    """SFace's."""


def load_detector_weights(config: DetectorConfig, storage: StorageConfig | None = None) -> bytes | None:
    """Load and verify YuNet's weights; None for another detector.

    Args:
        config: The detector.
        storage: Settings of object stores.

    Raises:
        ConfigError: the file does not exist, is another one, or the hub does not respond.
        StorageError: the object store cannot be reached.
    """
    return yunet_weights(config.weights, storage) if config.kind == "yunet" else None


def load_face_weights(config: FacesConfig, storage: StorageConfig | None = None) -> FaceWeights:
    """Load and verify all weights that these settings need; arguments and errors as ``load_detector_weights``."""
    embedder = sface_weights(config.people.weights, storage) if config.uses_embeddings else None
    return FaceWeights(detector=load_detector_weights(config.detector, storage), embedder=embedder)
