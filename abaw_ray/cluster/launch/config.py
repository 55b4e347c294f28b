"""The settings of the whole pipeline, and those of each job. A field has the same name in every job, so the same options give the same addresses of
results.
"""

from dataclasses import dataclass, field, fields
from typing import Annotated, TypeVar, get_type_hints

import tyro

from abaw_ray.cluster.engine.run import RunConfig
from abaw_ray.core.errors import ConfigError
from abaw_ray.data.config import DataConfig
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.faces.config import FacesConfig
from abaw_ray.features.config import BaselineConfig, FeaturesConfig
from abaw_ray.fusion.config import SweepConfig
from abaw_ray.predict.config import BundleConfig

_T = TypeVar("_T", bound=RunConfig)
_OWN = tyro.conf.arg(name="")  # the job's own stage needs no prefix: --optim.lr is short for --encoder.optim.lr


@dataclass(frozen=True, kw_only=True)
class DataRunConfig(RunConfig):
    """A job that reads the user's data."""

    data: DataConfig = field(default_factory=DataConfig)
    """The user's data sets."""


@dataclass(frozen=True, kw_only=True)
class FacesJob(DataRunConfig):
    """Faces of videos: ``jobs/prepare_faces.py``."""

    faces: Annotated[FacesConfig, _OWN] = field(default_factory=FacesConfig)


@dataclass(frozen=True, kw_only=True)
class EncoderJob(DataRunConfig):
    """Stage I: ``jobs/train_encoder.py``."""

    encoder: Annotated[EncoderConfig, _OWN] = field(default_factory=EncoderConfig)


@dataclass(frozen=True, kw_only=True)
class FeaturesJob(DataRunConfig):
    """Two vectors per frame: ``jobs/extract_features.py``."""

    faces: FacesConfig = field(default_factory=FacesConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    features: Annotated[FeaturesConfig, _OWN] = field(default_factory=FeaturesConfig)

    def __post_init__(self) -> None:
        """Check that the stages fit together."""
        check_fit(self)


@dataclass(frozen=True, kw_only=True)
class SweepJob(DataRunConfig):
    """Stage II: ``jobs/sweep_fusion.py`` and ``jobs/predict.py``."""

    faces: FacesConfig = field(default_factory=FacesConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    sweep: Annotated[SweepConfig, _OWN] = field(default_factory=SweepConfig)

    def __post_init__(self) -> None:
        """Check that the stages fit together."""
        check_fit(self)


@dataclass(frozen=True, kw_only=True)
class PipelineConfig(DataRunConfig):
    """All stages: ``jobs/pipeline.py``."""

    faces: FacesConfig = field(default_factory=FacesConfig)
    """Detection, tracks and chips."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """Stage I."""
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    """Vectors of Stage I's encoder and of Wav2Vec 2.0."""
    sweep: SweepConfig = field(default_factory=SweepConfig)
    """Stage II."""
    baselines: BaselineConfig = field(default_factory=BaselineConfig)
    """Baselines without a model."""
    bundle: BundleConfig = field(default_factory=BundleConfig)
    """The model that is written at the end."""

    def __post_init__(self) -> None:
        """Check that the stages fit together."""
        check_fit(self)


def check_fit(config: FeaturesJob | SweepJob | PipelineConfig) -> None:
    """Check that the chips fit the encoder.

    Raises:
        ConfigError: the size of the chips is not the encoder's input size.
    """
    chip_size, img_size = config.faces.chips.size, config.encoder.model.img_size
    if chip_size != img_size:
        raise ConfigError(f"faces.chips.size={chip_size} is not encoder.model.img_size={img_size}; set both to the encoder's input size")


def own_stage(job: type[RunConfig]) -> str:
    """Name of the job's field whose options have no prefix; empty if it has none."""
    hints = get_type_hints(job, include_extras=True)
    return next((name for name, hint in hints.items() if _OWN in getattr(hint, "__metadata__", ())), "")


def part_of(job: type[_T], config: PipelineConfig) -> _T:
    """The settings of one job, taken from those of the pipeline."""
    return job(**{item.name: getattr(config, item.name) for item in fields(job)})
