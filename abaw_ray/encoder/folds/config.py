"""Settings of the encoders per fold, without tensor libraries. The paper trains Stage I on still images alone; all values are ours."""

from dataclasses import dataclass

from abaw_ray.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class FoldEncodersConfig:
    """Encoders that continue from that of the still images, with chips of annotated videos: one per protocol and fold, so that none has seen the
    subjects that are scored with its features.
    """

    epochs: int = 0
    """Passes over still images and chips together for each of these encoders. 0 trains none: all features are those of the encoder of the still
    images."""
    images: int = 12_000
    """Largest number of chips over all subjects, in equal parts for the classes; about the size of RAF-DB. Frames of one video resemble each other,
    so more of them add little."""
    interval_s: float = 0.5
    """Shortest time in seconds between two chips of one subject and class."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.epochs < 0 or self.images < 1 or self.interval_s < 0:
            raise ConfigError(
                f"fold_encoders.epochs={self.epochs} and interval_s={self.interval_s} must be at least 0, images={self.images} at least 1"
            )

    @property
    def are_trained(self) -> bool:
        """Whether there are encoders per fold."""
        return self.epochs > 0
