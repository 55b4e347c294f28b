"""Settings of model bundles and of the analysis of videos. Imports no tensor library."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.faces.tracking.time_range import TimeRange
from abaw_ray.media.config import EncodingConfig

Protocol = Literal["cv", "official"]
People = Literal["main", "all"]
Format = Literal["csv", "parquet"]
Framework = Literal["timm", "transformers"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "hamming", "box"]


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
    """``cv``: the fusion models of the five folds over train and validation, averaged, as for the submission; ``official``: that of
    Train_Set alone, whose score on Validation_Set is comparable. Default ours."""
    name: str = ""
    """Name in the model card; empty uses the last part of the storage's address."""

    def __post_init__(self) -> None:
        """Refuse an unknown protocol."""
        if self.protocol not in get_args(Protocol):
            raise ConfigError(f"bundle.protocol={self.protocol}: choose cv or official")


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """An image classifier that was trained elsewhere: its classes, and the preparation of its input. All values but ``crop_scale`` are its own."""

    framework: Framework
    """The library that builds the network."""
    labels: tuple[str, ...]
    """Names of its classes, in the order of its outputs."""
    expressions: tuple[str, ...]
    """The expression of each class; empty for a class that is left out: its probability is removed, and the others are renormalized."""
    resize: int
    """Pixels: side that the square crop of a face is resized to."""
    input_size: int
    """Pixels: side of the network's input, the center of the resized crop."""
    rescale: float = 1 / 255
    """Factor of pixel values 0 to 255, before mean and standard deviation."""
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    """Subtracted from rescaled pixel values: red, green, blue."""
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    """Divisor of the differences."""
    interpolation: Interpolation = "bilinear"
    """Filter that resizes the crop."""
    crop_scale: float = 1.25
    """Side of the square crop over the longer side of the face box. Default ours: about that of the aligned images of AffectNet and RAF-DB."""

    def __post_init__(self) -> None:
        """Refuse settings that give no scores."""
        unknown = [name for name in self.expressions if name and name not in EXPRESSIONS]
        if unknown or len(self.labels) != len(self.expressions) or len(set(filter(None, self.expressions))) < 2:
            raise ConfigError(f"classifier.expressions={self.expressions}: give one of {', '.join(EXPRESSIONS)} or nothing per label, two at least")
        if not 8 <= self.input_size <= self.resize or not 0.5 <= self.crop_scale <= 4:
            raise ConfigError(
                f"classifier.input_size={self.input_size} must be 8 to resize={self.resize} pixels, crop_scale={self.crop_scale} between 0.5 and 4"
            )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0 or self.interpolation not in get_args(Interpolation):
            raise ConfigError(
                f"classifier.mean={self.mean} and std={self.std} must be three values, std above 0; interpolation={self.interpolation} one of "
                f"{', '.join(get_args(Interpolation))}"
            )


@dataclass(frozen=True, kw_only=True)
class AnalysisConfig:
    """What is analyzed in a video."""

    people: People = "all"
    """``main``: the person with the largest summed face area only; ``all``: everyone. Default ours."""
    fps: float = 0.0
    """Frames per second that are scored: of all analyzed frames those nearest to a grid of this rate; 0 scores every frame."""
    start: float = 0.0
    """Start of the analyzed part in seconds on the video's own clock, as in the column time; 0 for the first frame. Images have no time and are
    analyzed always."""
    end: float = 0.0
    """End of the analyzed part in seconds on the video's own clock: frames before it are analyzed; 0 for the last frame."""

    @property
    def time_range(self) -> TimeRange:
        """The analyzed part."""
        return TimeRange(start=self.start, end=self.end)

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.people not in get_args(People):
            raise ConfigError(f"analysis.people={self.people}: choose main or all")
        if not 0 <= self.fps <= 1000:
            raise ConfigError(f"analysis.fps={self.fps} must be frames per second, 0 for every frame")
        if not 0 <= self.start < math.inf:
            raise ConfigError(f"analysis.start={self.start} must be seconds from 0 on")
        if not (self.end == 0 or self.start < self.end < math.inf):
            raise ConfigError(f"analysis.end={self.end} must be later than analysis.start={self.start}, or 0 for the end of the video")


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """The files that are written for each analyzed video. They are made from the stored analysis, so changing them computes nothing again."""

    format: str = "csv"
    """Formats of the table: csv, parquet, or both with a comma."""
    report: bool = True
    """Whether a page (``.html``) is written."""
    overlay: bool = False
    """Whether a video with boxes and expressions (``.overlay.mp4``) is written."""
    embed: bool = False
    """Put the video into the page, up to 20 MB, so that the page alone can be passed on. A larger one stays a file beside the page."""
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
    """SFace's weights, with which people are recognized across cuts: path, URI, ``owner/name`` on the model hub, or ``hub``; without them
    people are not joined across cuts."""


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
