"""How much a benchmark run measures, and the videos it needs, made when they are first asked for."""

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
from tools.bench.video.clips import RATE, Subject, Way, encode, find_subject, grained, portrait
from tools.bench.video.recall import Scene, make_scene

SHARE = 0.3
"""Height of the large face's box, in units of the picture's."""
SIZES = {"720p": (1280, 720), "1080p": (1920, 1080)}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of everything."""

    seconds: float = 15
    """Of the videos whose cost is measured."""
    rounds: int = 9
    """How often each cost is measured; the median counts."""
    grain: tuple[float, ...] = (3.0,)
    """Further videos with so much noise added, levels of 255: nothing decodes as cheaply as a clip that was coded before."""
    recall_seconds: float = 30
    """Of each video of small faces."""
    curve_frames: int = 200
    """Frames of which each point of the curve is made."""
    curve_rounds: int = 2
    """How often each is measured."""
    curve_sizes: tuple[str, ...] = ("720p", "1080p")
    few: bool = False
    """Whether the curve has but one setting changed at a time."""
    naive_frames: int = 200
    """Frames of what a user would write first: it needs many times as long for each."""
    pool_seconds: float = 260
    """Of wall time of the pool, by what one process alone needs; it takes a few per cent less."""
    pool_clip: float = 10
    """Seconds of the clip of which there are copies."""
    long: float = 600
    """Seconds of the long video in memory's part."""
    short: float = 60
    """Of the short one."""
    videos: int = 20_000
    """Stand-ins at scale."""


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
    """One run: its settings, and the videos that are made when they are first asked for."""

    plan: Plan
    config: FacesConfig
    clips: Path
    folder: Path
    keep: bool
    made: dict[str, Path] = field(default_factory=dict)

    @cached_property
    def subject(self) -> Subject:
        """Who is in the videos."""
        return find_subject(self.clips, make_detector(self.config.detector))

    def face(self, size: str, seconds: float, grain: float = 0.0) -> Path:
        """A video with one large face."""
        name = f"face-{size}-{seconds:.1f}s" + (f"-grain{grain:g}" if grain else "")
        if name not in self.made:
            echo(f"  encoding {name}")
            pictures = (portrait(self.subject, SIZES[size], SHARE, moment)[0] for moment in range(round(seconds * RATE)))
            self.made[name] = encode(self.folder / f"{name}.mp4", grained(pictures, grain) if grain else pictures)
            self.look(self.made[name])
        return self.made[name]

    def scene(self, name: str, *ways: Way) -> Scene:
        """A video of small faces."""
        echo(f"  encoding {name}")
        scene = make_scene(self.subject, self.folder / f"{name}.mp4", list(ways), self.plan.recall_seconds)
        self.look(scene.path)
        return scene

    def look(self, path: Path) -> None:
        """Leave a picture of a video beside it, where they are kept."""
        if self.keep:
            pictures = list(decode(str(path), last=60))
            Image.fromarray(pictures[-1].rgb()).save(path.with_suffix(".png"))

    @contextmanager
    def room(self) -> Iterator[Path]:
        """A folder on the same disk, gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="room-", dir=self.folder) as folder:
            yield Path(folder)
