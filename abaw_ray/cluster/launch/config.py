"""The settings of the whole pipeline, and those of each job. A field has the same name in every job, so the same options give the same addresses of
results.
"""

from dataclasses import dataclass, field, fields
from typing import Literal, TypeVar, get_args

from abaw_ray.cluster.engine.run import RunConfig
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.settings import NO_RESULT
from abaw_ray.data.config import DataConfig
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.encoder.folds.config import FoldEncodersConfig
from abaw_ray.encoder.search.config import EncoderSearchConfig
from abaw_ray.faces.config import FacesConfig
from abaw_ray.features.config import BaselineConfig, DeviceConfig, FeaturesConfig
from abaw_ray.fusion.config import SweepConfig
from abaw_ray.predict.config import AnalysisConfig, BundleConfig, DetectorChoice, OutputConfig, PeopleChoice

_T = TypeVar("_T", bound=RunConfig)


@dataclass(frozen=True, kw_only=True)
class DataRunConfig(RunConfig):
    """A job that reads the user's data."""

    data: DataConfig = field(default_factory=DataConfig)
    """The user's data sets."""


@dataclass(frozen=True, kw_only=True)
class FacesJob(DataRunConfig):
    """Faces of videos: ``abaw-ray faces``."""

    faces: FacesConfig = field(default_factory=FacesConfig)
    """Detection, tracks and chips."""


@dataclass(frozen=True, kw_only=True)
class EncoderJob(FacesJob):
    """Stage I: ``abaw-ray train``. The detector of the videos finds the faces of still images too."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """Stage I."""


@dataclass(frozen=True, kw_only=True)
class EncoderSearchJob(EncoderJob):
    """Hyperparameters of Stage I: ``abaw-ray search``."""

    search: EncoderSearchConfig = field(default_factory=EncoderSearchConfig)
    """The search; ``encoder`` has the settings of its first trial."""


@dataclass(frozen=True, kw_only=True)
class FeaturesJob(EncoderJob):
    """Two vectors per frame: ``abaw-ray features``."""

    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    """Vectors of Stage I's encoder and of Wav2Vec 2.0."""
    keep_chips: bool = field(default=True, metadata=NO_RESULT)
    """Keep the face crops of the videos: 54 MB per minute of video. Otherwise they are deleted at the end of a command that reads them, and a later
    command that reads them processes the videos again."""

    def __post_init__(self) -> None:
        """Check that the chips have the encoder's input size; where timm or ``encoder.path`` determines it, that is checked before the stage runs."""
        chip_size, img_size = self.faces.chips.size, self.encoder.model.img_size
        if not self.encoder.path and img_size is not None and chip_size != img_size:
            raise ConfigError(f"faces.chips.size={chip_size} is not encoder.model.img_size={img_size}; set both to the encoder's input size")


@dataclass(frozen=True, kw_only=True)
class SweepJob(FeaturesJob):
    """Stage II: ``abaw-ray sweep`` and ``abaw-ray predict``."""

    fold_encoders: FoldEncodersConfig = field(default_factory=FoldEncodersConfig)
    """Encoders per fold, trained on chips of annotated videos too; their folds are those of ``sweep``. None by default."""
    sweep: SweepConfig = field(default_factory=SweepConfig)
    """Stage II."""

    def __post_init__(self) -> None:
        """Refuse repeated folds where every fold has an encoder of its own."""
        super().__post_init__()
        if self.fold_encoders.are_trained and self.sweep.fold_repeats > 1:
            raise ConfigError(
                f"sweep.fold_repeats={self.sweep.fold_repeats} with fold_encoders.epochs={self.fold_encoders.epochs}: each encoder belongs to its "
                "fold; set one of the two back to its default"
            )


Part = Literal["padaug", "moe", "scales", "audio", "faces", "gate", "smoothing", "modality_dropout"]
"""A part of the method that an ablation takes away."""


@dataclass(frozen=True, kw_only=True)
class AblationConfig:
    """What is compared."""

    parts: tuple[Part, ...] = get_args(Part)
    """The parts, each of which is taken away alone; by default all that the paper names."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of initial weights, batches, folds and proposals: everything is trained with each of them. Synthetic data are generated with each, too.
    Three by default, which is ours."""

    def __post_init__(self) -> None:
        """Refuse an empty comparison and one that counts something twice."""
        for name in ("parts", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ConfigError(f"ablation.{name}={' '.join(map(str, values))} must be one or more, each once")
        if unknown := [part for part in self.parts if part not in get_args(Part)]:
            raise ConfigError(f"ablation.parts={unknown[0]} is unknown; choose from {', '.join(get_args(Part))}")


@dataclass(frozen=True, kw_only=True)
class AblationJob(SweepJob):
    """The method with one part after the other taken away: ``abaw-ray ablation``."""

    ablation: AblationConfig = field(default_factory=AblationConfig)
    """What is compared."""

    def __post_init__(self) -> None:
        """Refuse to delete what the next variant reads."""
        super().__post_init__()
        if not self.keep_chips:
            raise ConfigError("keep_chips: every variant of an ablation reads the face crops; leave out --no-keep-chips")


@dataclass(frozen=True, kw_only=True)
class PipelineConfig(SweepJob):
    """All stages: ``abaw-ray pipeline`` and ``abaw-ray report``."""

    baselines: BaselineConfig = field(default_factory=BaselineConfig)
    """Baselines without a model."""
    bundle: BundleConfig = field(default_factory=BundleConfig)
    """The model that is written at the end."""

    def __post_init__(self) -> None:
        """Refuse a bundle of five fold models that each need an encoder of their own."""
        super().__post_init__()
        if self.fold_encoders.are_trained and self.bundle.protocol == "cv":
            raise ConfigError(
                f"bundle.protocol=cv with fold_encoders.epochs={self.fold_encoders.epochs}: the five models of cv would need five encoders, and a "
                "bundle has one; set bundle.protocol to official"
            )


def part_of(job: type[_T], config: PipelineConfig) -> _T:
    """The settings of one job, taken from those of the pipeline."""
    return job(**{item.name: getattr(config, item.name) for item in fields(job)})


@dataclass(frozen=True, kw_only=True)
class VideosConfig:
    """The user's videos."""

    videos: tuple[str, ...] = ()
    """Videos and images. Each value is a file, a folder, a glob, or a list of paths and URIs (text: one per line; CSV or Parquet: column uri or path,
    and optionally video with names)."""


@dataclass(frozen=True, kw_only=True)
class FacesChoice:
    """Face detection, where it differs from that of the model's training."""

    detector: DetectorChoice = field(default_factory=DetectorChoice)
    """The face detector."""
    people: PeopleChoice = field(default_factory=PeopleChoice)
    """Identification of people."""


@dataclass(frozen=True, kw_only=True)
class AnalyzeConfig(RunConfig):
    """Any videos to tables and pages: ``abaw-ray analyze``."""

    model: str = ""
    """The model: the folder model/ of a finished pipeline, an s3:// or gs:// URI, or owner/name on the model hub. There is no default."""
    limit: int = 0
    """Maximum number of videos, in the order of their names; 0 for all."""
    keep_chips: bool = field(default=False, metadata=NO_RESULT)
    """Keep the face crops and the audio of every video in the cache."""
    quiet: bool = field(default=False, metadata=NO_RESULT)
    """Print nothing but errors."""
    json: bool = field(default=False, metadata=NO_RESULT)
    """Print one JSON object on stdout at the end: counts, the files of every video, failures with reasons; everything else goes to stderr."""
    data: VideosConfig = field(default_factory=VideosConfig)
    """The user's videos."""
    analysis: AnalysisConfig = field(default_factory=AnalysisConfig)
    """What is analyzed in a video."""
    faces: FacesChoice = field(default_factory=FacesChoice)
    """Face detection."""
    outputs: OutputConfig = field(default_factory=OutputConfig, metadata=NO_RESULT)
    """Which files are written."""
    device: DeviceConfig = field(default_factory=DeviceConfig, metadata=NO_RESULT)
    """Device and batch sizes of a worker."""

    def __post_init__(self) -> None:
        """Refuse a negative number of videos, and two forms of output."""
        if self.limit < 0:
            raise ConfigError(f"limit={self.limit} must be a number of videos, 0 for all")
        if self.quiet and self.json:
            raise ConfigError("--quiet and --json: choose one; --quiet prints nothing, --json prints the result as JSON")
        if self.plan and (self.quiet or self.json):
            raise ConfigError(f"--plan and {'--json' if self.json else '--quiet'}: a plan is printed as text only; leave one of the two out")
