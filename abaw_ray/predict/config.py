"""Settings of model bundles. Imports no tensor library."""

from dataclasses import dataclass
from typing import Literal, get_args

from abaw_ray.core.errors import ConfigError

Protocol = Literal["cv", "official"]


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
