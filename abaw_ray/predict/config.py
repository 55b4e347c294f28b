"""Settings of model bundles and of the analysis of videos. Imports no tensor library."""

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.media.config import EncodingConfig

Protocol = Literal["cv", "official"]
People = Literal["main", "all"]
Format = Literal["csv", "parquet"]


CACHE = ".cache"
"""Folder in the user's output folder with stored analyses, chips and logs."""


def cache_config(storage: StorageConfig) -> StorageConfig:
    """The storage of analyses: a hidden folder in the user's output folder."""
    return replace(storage, uri=f"{storage.uri.rstrip('/')}/{CACHE}")


def output_config(storage: StorageConfig) -> StorageConfig:
    """The inverse of ``cache_config``."""
    return replace(storage, uri=storage.uri.removesuffix(f"/{CACHE}"))


@dataclass(frozen=True, kw_only=True)
class BundleConfig:
    """The model that the pipeline writes to ``model/`` at its end."""

    protocol: Protocol = "cv"
    """``cv``: the fusion models of the five folds over train and validation, averaged, as for the submission; ``official``: the one model of
    Train_Set, whose score on Validation_Set is comparable. Default ours."""
    name: str = ""
    """Name in the model card; empty uses the last part of the storage's address."""

    def __post_init__(self) -> None:
        """Refuse an unknown protocol."""
        if self.protocol not in get_args(Protocol):
            raise ConfigError(f"bundle.protocol={self.protocol}: choose cv or official")


@dataclass(frozen=True, kw_only=True)
class AnalysisConfig:
    """What is analyzed in a video."""

    people: People = "all"
    """``main``: the person with the largest summed face area only; ``all``: everyone. Default ours."""
    fps: float = 0.0
    """Frames per second that are scored: of all decoded frames those nearest to a grid of this rate; 0 scores every frame."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.people not in get_args(People):
            raise ConfigError(f"analysis.people={self.people}: choose main or all")
        if not 0 <= self.fps <= 1000:
            raise ConfigError(f"analysis.fps={self.fps} must be frames per second, 0 for every frame")


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """The files that are written for each analyzed video. They are made from the stored analysis, so changing them computes nothing again."""

    format: str = "csv"
    """Formats of the table: csv, parquet, or both with a comma."""
    report: bool = True
    """Whether a page (``.html``) is written."""
    overlay: bool = False
    """Whether a video with boxes and expressions (``.overlay.mp4``) is written."""
    encoding: EncodingConfig = field(default_factory=EncodingConfig)
    """Size and quality of the videos that are written: overlays, and copies of videos that browsers cannot play."""

    def __post_init__(self) -> None:
        """Refuse unknown formats."""
        if not set(self.formats) <= set(get_args(Format)):
            raise ConfigError(f"outputs.format={self.format}: choose csv, parquet or csv,parquet")

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats one by one."""
        return tuple(self.format.split(","))


@dataclass(frozen=True, kw_only=True)
class PeopleChoice:
    """Identification of people."""

    weights: str = ""
    """SFace's weights, with which people are recognized across cuts: path, URI, ``owner/name`` on the model hub, or ``hub``; without them nobody is
    joined across cuts."""


@dataclass(frozen=True, kw_only=True)
class DetectorChoice:
    """The face detector of an analysis, where it differs from that of the model's training."""

    kind: Literal["", "yunet", "haar"] = ""
    """``yunet`` or ``haar``; empty keeps the model's own, or selects YuNet where ``weights`` are given."""
    weights: str = ""
    """YuNet's weights: path, URI, ``owner/name`` on the model hub, or ``hub``; empty keeps the default."""
    min_score: float = 0.0
    """Minimum score of a new face, 0 to 1; 0 keeps the detector's own."""

    def __post_init__(self) -> None:
        """Refuse an unknown detector."""
        if self.kind not in ("", "yunet", "haar"):
            raise ConfigError(f"faces.detector.kind={self.kind}: choose yunet or haar")
        if self.kind == "haar" and self.weights:
            raise ConfigError(f"faces.detector.weights={self.weights}: the detector haar reads none; leave one of the two options out")
        if not 0 <= self.min_score < 1:
            raise ConfigError(f"faces.detector.min_score={self.min_score} must be between 0 and 1")
