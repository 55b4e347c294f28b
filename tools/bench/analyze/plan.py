"""Sizes of a benchmark run, and its test videos and models, which are made on first use."""

from dataclasses import dataclass, field
from pathlib import Path

from abaw_ray.core.progress import echo
from abaw_ray.faces.config import DetectorConfig, FacesConfig
from tools.bench.analyze.models import MODELS, write_model
from tools.bench.analyze.videos import SIZES, draw_video

FPS = 30
"""Frames per second of the videos whose shares are measured."""
_MEMORY_SIZE, _MEMORY_FPS = (320, 240), 25
_MEMORY_S, _START_S = 16.0, 2.4
"""Seconds of the clip that is repeated for part ``memory`` (250 AAC frames), and of that of part ``start``."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes of the measurements."""

    seconds: float = 16.0
    """Duration of the videos whose shares are measured."""
    rounds: int = 5
    """Rounds of each measurement; figures are medians."""
    large_seconds: float = 3.2
    """Duration of the video of the models in the paper's sizes."""
    large_fps: float = 5.0
    """Frames per second that they score."""
    large_rounds: int = 1
    """Rounds with them."""
    start_rounds: int = 9
    """Rounds of part ``start``, besides a first one that is discarded."""
    short: int = 4
    """Number of repetitions of a clip of 16 s in the short video of part ``memory``: 64 s."""
    long: int = 113
    """The same of the long one: 30 minutes."""
    pool_videos: int = 60
    """Copies of the clip of part ``pool``."""
    pool_seconds: float = 8.0
    """Duration of that clip."""
    pool_rounds: int = 3
    """Rounds of part ``pool``; pool and job alternate."""


QUICK = Plan(
    seconds=1.6, rounds=1, large_seconds=1.0, large_fps=1.0, start_rounds=1, short=1, long=3, pool_videos=10, pool_seconds=1.6, pool_rounds=1
)


@dataclass
class Bench:
    """Settings of one run, its test videos and its models."""

    plan: Plan
    weights: Path
    """YuNet's weights."""
    clip: Path | None
    """A real clip that replaces the synthetic one of 720p."""
    folder: Path
    made: dict[str, Path] = field(default_factory=dict)
    """Videos and models by name."""

    def video(self, size: str, seconds: float) -> Path:
        """A video of one face at a size of ``SIZES``."""
        return self._synthetic(f"{size}-{seconds:g}s", SIZES[size], seconds, FPS)

    def main_video(self, seconds: float) -> Path:
        """The video of 720p whose shares are measured: the user's clip, or a synthetic one."""
        return self.clip or self.video("720p", seconds)

    def start_clip(self) -> Path:
        """A clip of 2.4 s."""
        return self._synthetic("start", _MEMORY_SIZE, _START_S, _MEMORY_FPS)

    def memory_clip(self) -> Path:
        """The small clip that is repeated."""
        return self._synthetic("memory", _MEMORY_SIZE, _MEMORY_S, _MEMORY_FPS)

    def model(self, name: str) -> Path:
        """The bundle of a model of ``MODELS``."""
        if name not in self.made:
            echo(f"  writing {name}: {MODELS[name].name}")
            self.made[name] = write_model(self.folder / f"model-{name}", MODELS[name].preset)
        return self.made[name]

    def faces(self, name: str) -> FacesConfig:
        """Settings of the faces for a model, with YuNet."""
        faces = MODELS[name].preset.faces
        return FacesConfig(detector=DetectorConfig(weights=str(self.weights)), chips=faces.chips)

    def _synthetic(self, name: str, size: tuple[int, int], seconds: float, fps: float) -> Path:
        if name not in self.made:
            echo(f"  drawing {name}")
            self.made[name] = draw_video(self.folder / f"{name}.mp4", size, seconds, fps)
        return self.made[name]
