"""Settings of the synthetic data set, and its named random number generators.

All of it is ours: the data set replaces Aff-Wild2, AffectNet and RAF-DB in tests and demos, because their licenses forbid redistribution.
"""

from dataclasses import dataclass

import numpy as np

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.settings import digest


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """Size and appearance of the synthetic data set. The same settings give the same labels and the same pixels (before encoding) everywhere."""

    seed: int = 0
    """Seed of every identity, script and image. Default ours, as all below."""
    frame_size: tuple[int, int] = (320, 240)
    """Width and height of the videos in pixels; both even (H.264)."""
    train_subjects: int = 36
    """Annotated subjects of Train_Set, one video each. One of them is the left person of the two-person video."""
    val_subjects: int = 16
    """Annotated subjects of Validation_Set. One of them is the right person of the two-person video."""
    test_subjects: int = 6
    """Subjects of the test release, one video each."""
    video_duration_s: float = 10.0
    """Mean duration of a video in seconds; durations vary by up to 20% in either direction."""
    fps_range: tuple[float, float] = (12.0, 20.0)
    """Lowest and highest frame rate in frames per second; every video has its own."""
    segment_duration_s: tuple[float, float] = (1.5, 4.0)
    """Shortest and longest duration in seconds of a segment, in which a subject keeps one expression."""
    expression_intensity: float = 1.0
    """Scale of all facial expressions; below 1 they are harder to classify."""
    head_pose_scale: float = 0.4
    """Scale of head roll, yaw and pitch; at 1 a small encoder needs many more images to become robust to pose."""
    affectnet_train_images: int = 6000
    """Usable images of AffectNet's training list; the list has about 5% more rows, which a reader must exclude."""
    affectnet_val_images: int = 480
    """Usable images of AffectNet's validation list."""
    rafdb_train_images: int = 2000
    """Training images of RAF-DB."""
    rafdb_test_images: int = 240
    """Test images of RAF-DB."""
    crf: float = 23.0
    """Constant rate factor of the H.264 encoder: 18 is visually lossless, 35 shows block artifacts."""

    def __post_init__(self) -> None:
        """Reject sizes that cannot hold every expression, and values outside their ranges."""
        width, height = self.frame_size
        if width % 2 or height % 2 or min(width, height) < 96:
            raise ConfigError(f"synthetic.frame_size={width}x{height}: sides must be even (H.264) and at least 96 pixels")
        low, high = self.segment_duration_s
        if not 0.3 <= low <= high:
            raise ConfigError(f"synthetic.segment_duration_s={low}..{high} s: must ascend and begin at 0.3 s or more")
        if not 5 <= self.fps_range[0] <= self.fps_range[1] <= 60:
            raise ConfigError(f"synthetic.fps_range={self.fps_range[0]}..{self.fps_range[1]} frames/s: must ascend within 5..60")
        if self.video_duration_s < 2 * low:
            raise ConfigError(
                f"synthetic.video_duration_s={self.video_duration_s}: a video must hold two segments of {low} s (synthetic.segment_duration_s)"
            )
        if not 0 < self.expression_intensity <= 1.5:
            raise ConfigError(f"synthetic.expression_intensity={self.expression_intensity} must be above 0 and at most 1.5")
        if not 0 <= self.head_pose_scale <= 1.5:
            raise ConfigError(f"synthetic.head_pose_scale={self.head_pose_scale} must be between 0 and 1.5")
        for name in ("train_subjects", "val_subjects"):
            self._check_expressions_fit(name)
        images = (self.affectnet_train_images, self.affectnet_val_images, self.rafdb_train_images, self.rafdb_test_images)
        if min(self.test_subjects, *images) < 1:
            raise ConfigError("synthetic: test_subjects and the numbers of AffectNet's and RAF-DB's images must each be at least 1")

    def _check_expressions_fit(self, name: str) -> None:
        count = getattr(self, name) * self.segments_per_video
        if count < len(EXPRESSIONS):
            raise ConfigError(
                f"synthetic.{name}={getattr(self, name)} videos of {self.video_duration_s} s hold {count} segments, fewer than the "
                f"{len(EXPRESSIONS)} expressions; set more subjects or a shorter synthetic.segment_duration_s"
            )

    @property
    def segments_per_video(self) -> int:
        """Number of expression segments of one subject in one video."""
        low, high = self.segment_duration_s
        return max(2, int(self.video_duration_s / (0.6 * low + 0.4 * high)))


def generator(seed: int, *names: object) -> np.random.Generator:
    """Random number generator for the purpose with these names: the same in any order of calls and for any number of workers."""
    return np.random.Generator(np.random.PCG64(int(digest([seed, *map(str, names)], 32), 16)))
