"""How large the drawn data set is and what it looks like, and the one way in which its random numbers are made.

Everything here is ours: it stands in for Aff-Wild2, AffectNet and RAF-DB, whose licences forbid shipping them.
"""

from dataclasses import dataclass

import numpy as np

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.settings import digest


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """Sizes of the drawn data set. The same settings give the same labels and the same pixels (before encoding) everywhere."""

    seed: int = 0
    """Changes every person, script and picture. Ours, as all below."""
    picture: tuple[int, int] = (320, 240)
    """Width and height of the videos in pixels; both even (H.264)."""
    train: int = 36
    """Annotation files of Train_Set. One of them is the left half of the two-person video."""
    validation: int = 16
    """Annotation files of Validation_Set. One of them is the right half of the two-person video."""
    test: int = 6
    """Videos of the test release."""
    seconds: float = 10.0
    """Mean length of a video; lengths vary by a fifth either way."""
    rate: tuple[float, float] = (12.0, 20.0)
    """Lowest and highest frames a second; every video has its own."""
    stretch: tuple[float, float] = (1.5, 4.0)
    """Shortest and longest time in seconds that a person keeps one expression."""
    strength: float = 1.0
    """Scale of all expressions of the face; below 1 they are harder to tell apart."""
    turning: float = 0.4
    """Scale of how far heads lean, turn and nod; at 1 a small encoder needs many more images to see through it."""
    affectnet: int = 6000
    """Usable images of AffectNet's training list; some more are there that a reader must leave out."""
    affectnet_validation: int = 480
    """Usable images of AffectNet's validation list."""
    rafdb: int = 2000
    """Training images of RAF-DB."""
    rafdb_test: int = 240
    """Test images of RAF-DB."""
    crf: float = 23.0
    """Quality of the H.264 encoder: 18 looks lossless, 35 shows blocks."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot hold what the data set promises to hold."""
        width, height = self.picture
        if width % 2 or height % 2 or min(width, height) < 96:
            raise ConfigError(f"synthetic.picture={width}x{height}: sides must be even (H.264) and at least 96 pixels")
        low, high = self.stretch
        if not 0.3 <= low <= high:
            raise ConfigError(f"synthetic.stretch={low}..{high} s: must ascend and begin at 0.3 s or more")
        if not 5 <= self.rate[0] <= self.rate[1] <= 60:
            raise ConfigError(f"synthetic.rate={self.rate[0]}..{self.rate[1]} frames/s: must ascend within 5..60")
        if self.seconds < 2 * low:
            raise ConfigError(f"synthetic.seconds={self.seconds}: a video must hold two stretches of {low} s (synthetic.stretch)")
        if not 0 < self.strength <= 1.5:
            raise ConfigError(f"synthetic.strength={self.strength} must be above 0 and at most 1.5")
        if not 0 <= self.turning <= 1.5:
            raise ConfigError(f"synthetic.turning={self.turning} must be between 0 and 1.5")
        for name in ("train", "validation"):
            count = getattr(self, name) * self.stretches
            if count < len(EXPRESSIONS):
                raise ConfigError(
                    f"synthetic.{name}={getattr(self, name)} videos of {self.seconds} s hold {count} stretches, fewer than the "
                    f"{len(EXPRESSIONS)} expressions; ask for more videos or shorter synthetic.stretch"
                )
        if min(self.test, self.affectnet, self.affectnet_validation, self.rafdb, self.rafdb_test) < 1:
            raise ConfigError("synthetic: test, affectnet, affectnet_validation, rafdb and rafdb_test must each be at least 1")

    @property
    def stretches(self) -> int:
        """Expressions that one person shows in one video."""
        low, high = self.stretch
        return max(2, int(self.seconds / (0.6 * low + 0.4 * high)))


def generator(seed: int, *names: object) -> np.random.Generator:
    """The random numbers of one thing, named by a path; independent of who draws what first, and of the number of workers."""
    return np.random.Generator(np.random.PCG64(int(digest([seed, *map(str, names)], 32), 16)))
