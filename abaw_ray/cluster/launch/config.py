"""The settings of the whole pipeline, and those of each job. A field has the same name in every job, so the same options give the same addresses of
results.
"""

from dataclasses import dataclass, field, fields
from typing import TypeVar

from abaw_ray.cluster.engine.run import RunConfig
from abaw_ray.core.errors import ConfigError
from abaw_ray.data.config import DataConfig
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.faces.config import FacesConfig
from abaw_ray.features.config import BaselineConfig, FeaturesConfig
from abaw_ray.fusion.config import SweepConfig
from abaw_ray.predict.config import BundleConfig

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
class EncoderJob(DataRunConfig):
    """Stage I: ``abaw-ray train``."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """Stage I."""


@dataclass(frozen=True, kw_only=True)
class FeaturesJob(EncoderJob, FacesJob):
    """Two vectors per frame: ``abaw-ray features``."""

    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    """Vectors of Stage I's encoder and of Wav2Vec 2.0."""

    def __post_init__(self) -> None:
        """Check that the chips have the encoder's input size."""
        chip_size, img_size = self.faces.chips.size, self.encoder.model.img_size
        if chip_size != img_size:
            raise ConfigError(f"faces.chips.size={chip_size} is not encoder.model.img_size={img_size}; set both to the encoder's input size")


@dataclass(frozen=True, kw_only=True)
class SweepJob(FeaturesJob):
    """Stage II: ``abaw-ray sweep`` and ``abaw-ray predict``."""

    sweep: SweepConfig = field(default_factory=SweepConfig)
    """Stage II."""


@dataclass(frozen=True, kw_only=True)
class PipelineConfig(SweepJob):
    """All stages: ``abaw-ray pipeline`` and ``abaw-ray report``."""

    baselines: BaselineConfig = field(default_factory=BaselineConfig)
    """Baselines without a model."""
    bundle: BundleConfig = field(default_factory=BundleConfig)
    """The model that is written at the end."""


def part_of(job: type[_T], config: PipelineConfig) -> _T:
    """The settings of one job, taken from those of the pipeline."""
    return job(**{item.name: getattr(config, item.name) for item in fields(job)})
