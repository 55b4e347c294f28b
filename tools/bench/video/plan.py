"""Sizes of a benchmark run, and its test videos, which are encoded on first use."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from PIL import Image

from abaw_ray.core.progress import echo
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.detection.detect import make_detector
from abaw_ray.media.video import decode
from tools.bench.video.clips import RATE, Subject, Trajectory, add_grain, encode, find_subject, portrait
from tools.bench.video.recall import Scene, make_scene

SHARE = 0.3
"""Height of the large face's box as a share of the frame height."""
SIZES = {"720p": (1280, 720), "1080p": (1920, 1080)}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes of the measurements."""

    seconds: float = 15
    """Duration in seconds of the videos whose cost is measured."""
    rounds: int = 9
    """Number of rounds of each cost measurement; the figure is the median."""
    grain: tuple[float, ...] = (3.0,)
    """Standard deviations, in levels of 255, of the noise in further videos: without noise, a re-encoded clip is unusually cheap to decode."""
    recall_seconds: float = 30
    """Duration in seconds of each video of small faces."""
    curve_frames: int = 200
    """Frames measured for each point of the curve."""
    curve_rounds: int = 2
    """Number of rounds for each point of the curve."""
    curve_sizes: tuple[str, ...] = ("720p", "1080p")
    """Keys of ``SIZES`` for which the curve measures the cost."""
    few: bool = False
    """Whether the curve changes only one setting at a time."""
    naive_frames: int = 200
    """Frames measured with the naive implementation, which takes many times as long per frame."""
    pool_seconds: float = 260
    """Estimated wall time of the process pool, from the time of a single process; the actual one is a few percent less."""
    pool_clip: float = 10
    """Duration in seconds of the clip that the pool and the job process many times."""
    long: float = 600
    """Duration in seconds of the long video of part ``memory``."""
    short: float = 60
    """Duration in seconds of the short video of part ``memory``."""
    videos: int = 20_000
    """Number of stub videos of part ``scale``."""


QUICK = Plan(
    seconds=142 / RATE,
    rounds=5,
    grain=(),
    recall_seconds=7,
    curve_frames=142,
    curve_rounds=1,
    curve_sizes=("720p",),
    few=True,
    naive_frames=30,
    pool_seconds=12,
    pool_clip=142 / RATE,
    long=60,
    short=15,
    videos=1_000,
)


@dataclass
class Bench:
    """Settings of one run, and its test videos."""

    plan: Plan
    config: FacesConfig
    clips: Path
    """Folder of real clips."""
    folder: Path
    """Folder of the test videos."""
    keep: bool
    """Whether the test videos are kept, each with one frame as an image."""
    encoded: dict[str, Path] = field(default_factory=dict)
    """Encoded test videos by name."""

    @cached_property
    def subject(self) -> Subject:
        """The person in the videos."""
        return find_subject(self.clips, make_detector(self.config.detector))

    def face(self, size: str, seconds: float, grain: float = 0.0) -> Path:
        """Return a video with one large face."""
        name = f"face-{size}-{seconds:.1f}s" + (f"-grain{grain:g}" if grain else "")
        if name not in self.encoded:
            echo(f"  encoding {name}")
            frames = (portrait(self.subject, SIZES[size], SHARE, moment)[0] for moment in range(round(seconds * RATE)))
            self.encoded[name] = encode(self.folder / f"{name}.mp4", add_grain(frames, grain) if grain else frames)
            self.save_frame(self.encoded[name])
        return self.encoded[name]

    def scene(self, name: str, *trajectories: Trajectory) -> Scene:
        """Return a video of small faces."""
        echo(f"  encoding {name}")
        scene = make_scene(self.subject, self.folder / f"{name}.mp4", list(trajectories), self.plan.recall_seconds)
        self.save_frame(scene.path)
        return scene

    def save_frame(self, path: Path) -> None:
        """Save one frame of a video beside it, if the videos are kept."""
        if self.keep:
            frames = list(decode(str(path), max_frames=60))
            Image.fromarray(frames[-1].rgb()).save(path.with_suffix(".png"))

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Create a temporary folder on the disk of the test videos."""
        with tempfile.TemporaryDirectory(prefix="scratch-", dir=self.folder) as folder:
            yield Path(folder)
