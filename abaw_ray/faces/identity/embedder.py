"""What an embedder of faces must offer, and ``SFace``: a picture with five landmarks -> a unit vector that depends on who it is.

``votes.py`` compares vectors of several frames, ``vote_collector.py`` selects the frames. Vectors are used while a video is processed and are
written to no output.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.identity.sface_weights import sface_weights

_NO_CONFIG = np.zeros(0, np.uint8)
"""OpenCV expects a configuration in addition to the weights; ONNX has none."""


@dataclass(frozen=True, kw_only=True)
class SimilarityThresholds:
    """Mean cosine similarities of the vectors of two sets of observations, at which a decision is safe. They belong to one embedder."""

    same: float
    """From here on, the two sets show one person."""
    different: float
    """Below this, they show two people. In between nothing is decided: tracklets are neither joined nor split."""


@runtime_checkable
class FaceEmbedder(Protocol):
    """Interface of an embedder. Another one needs no other change."""

    @property
    def thresholds(self) -> SimilarityThresholds:
        """The thresholds of this embedder."""
        ...

    def __call__(self, rgb: UInt8[np.ndarray, "height width 3"], landmarks: Float[np.ndarray, "5 2"]) -> Float32[np.ndarray, " dim"]:
        """Return the unit vector of one face.

        Args:
            rgb: Upright picture of the face and its surroundings.
            landmarks: Eyes, nose, mouth corners, x y in pixels of the picture; those on the left of the image first.
        """
        ...


class SFace:
    """OpenCV's ``FaceRecognizerSF``; aligns by five landmarks. Source: Zhong et al., "SFace", IEEE TIP 2021."""

    thresholds = SimilarityThresholds(same=0.45, different=0.25)
    """Default ours, and not measured with these weights. OpenCV gives 0.363 as the best threshold for single pairs of LFW; a mean over several
    pairs varies less, so a person's own mean stays above it, and that of two people below it, by a margin."""

    def __init__(self, weights: bytes) -> None:
        self.network = cv2.FaceRecognizerSF.create("onnx", np.frombuffer(weights, np.uint8), _NO_CONFIG)

    def __call__(self, rgb: UInt8[np.ndarray, "height width 3"], landmarks: Float[np.ndarray, "5 2"]) -> Float32[np.ndarray, " dim"]:
        """Return the unit vector of one face; the network takes BGR and swaps the channels itself."""
        row = np.zeros((1, 15), np.float32)  # a row of YuNet, of which only the landmarks are used
        row[0, 4:14] = landmarks.ravel()
        aligned = self.network.alignCrop(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), row)
        vector = self.network.feature(aligned).ravel().astype(np.float32)
        return vector / max(float(np.linalg.norm(vector)), 1e-9)


def make_embedder(config: FacesConfig, weights: bytes | None = None) -> SFace | None:
    """Return the configured embedder; None without weights, or where the detector gives no landmarks.

    Args:
        config: Selects the detector and the weights.
        weights: SFace's weights, where they have been read already: the nodes of a cluster need neither file nor network.

    Raises:
        ConfigError: the weights cannot be read, or are another file.
        StorageError: they are in an object store that cannot be reached.
    """
    if not config.uses_embeddings:
        return None
    cv2.setNumThreads(1)  # one worker per core, as for the detector
    return SFace(sface_weights(config.people.weights) if weights is None else weights)


def describe(config: FacesConfig) -> str:
    """Return in one line how people are identified with these settings, and what would change that."""
    if config.uses_embeddings:
        return "people are identified by face embeddings, within a shot and across cuts"
    if config.detector.kind == "given":
        return "people are identified by the tracks of the given boxes; boxes without a track are not joined across cuts"
    remedy = "give --people-weights the path of SFace's weights, or hub"
    remedy = remedy if config.detector.kind == "yunet" else f"use --detector yunet and {remedy}"
    return f"people are not joined across cuts, and within a shot by position only; for face embeddings, {remedy}"
