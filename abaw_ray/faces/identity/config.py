"""Settings of the identification of people, without image libraries; a part of ``FacesConfig``."""

from dataclasses import dataclass, field

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.settings import NO_RESULT

SFACE_HUB = "opencv/face_recognition_sface"
"""Repository of SFace's weights on the model hub."""


@dataclass(frozen=True, kw_only=True)
class VoteConfig:
    """Which detected faces give an embedding (a vote on who it is), and how many are kept. Defaults ours, from degraded crops of real clips."""

    min_eye_distance: float = 14.0
    """Pixels between the eyes."""
    min_score: float = 0.75
    """Minimum score of the detector."""
    max_yaw: float = 0.45
    """Maximum offset of the nose from the middle between the eyes, in units of their distance: about 40 degrees."""
    min_aspect: float = 0.6
    """Minimum distance of the eyes in units of the distance from eyes to mouth; below it the face is in profile."""
    min_brightness: float = 40.0
    """Mean luma of the aligned face, 0 to 255."""
    min_contrast: float = 8.0
    """Standard deviation of the luma of the aligned face."""
    min_sharpness: float = 0.04
    """Variance of the Laplacian of the aligned face of 112 pixels, divided by that of its luma."""
    max_votes: int = 8
    """Votes kept per tracklet, spread in time, the best of each part of it."""
    min_votes: int = 2
    """Votes that a tracklet needs to be joined with another one across a cut."""

    def __post_init__(self) -> None:
        """Refuse numbers of votes that contradict each other."""
        if not 1 <= self.min_votes <= self.max_votes:
            raise ConfigError(f"people.votes.min_votes={self.min_votes} must be at least 1 and at most max_votes={self.max_votes}")


@dataclass(frozen=True, kw_only=True)
class PeopleConfig:
    """Identification of people by face embeddings, and matching of tracklets to people across shots."""

    weights: str = field(default="", metadata=NO_RESULT)
    """Where ``face_recognition_sface_2021dec.onnx`` is, in the vocabulary of ``detector.weights``; empty or ``none`` for no embeddings: then no
    tracklets are joined across cuts. The address of the results depends on whether embeddings are used."""
    votes: VoteConfig = field(default_factory=VoteConfig)
    """Which faces give an embedding."""
    min_area_ratio: float = 0.25
    """Minimum mean area of further tracklets of a named subject, as a fraction of that of the largest one; smaller ones are background people."""

    def __post_init__(self) -> None:
        """Refuse values outside 0 to 1."""
        if not 0 <= self.min_area_ratio <= 1:
            raise ConfigError(f"people.min_area_ratio={self.min_area_ratio} must be between 0 and 1")
