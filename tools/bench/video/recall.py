"""Videos of small faces whose place is known -> what the stage finds of them, and what that costs at other settings.

A face counts as found in a frame where a row of anybody's shows it with more than a third of box and truth in common. What is made of the
figures is for who reads them.
"""

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean, median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from abaw_ray.faces.boxes import iou
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.output import FaceWriter
from tools.bench.video.clips import RATE, Subject, Way, crowd, encode
from tools.bench.video.cost import WARM, decode_alone, in_turn, stage, video_row

FOUND = 0.3
"""Intersection over union of a row's box and the truth, above which a face is found."""
SMALL = 48.0
"""Pixels: height of a small face's box."""
SIZE = (1920, 1080)
STAY, BRIEF = (4.5, 4.5), (0.4, 3.0)
"""Seconds between which a newcomer is there: the longest schedule and a little, or so briefly that a rare search may miss him."""
_AWAY = (0.5, 2.5)
"""Seconds between which he is away."""
_BANDS = (0.5, 0.66, 0.82)
"""Where newcomers are, in units of the picture's width: each has a band of its own."""
SEARCH, FOLLOW = (0.5, 1.0, 2.0, 4.0), (0.1, 0.2, 0.4)
"""Seconds: ``tracks.search_interval_s`` and ``tracks.follow_interval_s`` of the curve."""
CALM, PIXELS, WIDTHS = (0.2, 0.4), (96, 128, 160), (480, 640, 800)
"""``tracks.static_interval_s``, ``window.size`` and ``detector.width`` of its further rows."""

SETTINGS = ("tracks.search_interval_s", "tracks.follow_interval_s", "tracks.static_interval_s", "window.size", "detector.width")
"""What the curve changes."""

Truth = list[list[np.ndarray | None]]
"""Boxes by frame and face, None where that face is not in the picture."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A video of small faces."""

    path: Path
    truth: Truth


def make_scene(subject: Subject, path: Path, ways: list[Way], seconds: float) -> Scene:
    """Draw and encode one; quicker than the videos whose cost is measured, for here only what is found counts."""
    truth: Truth = []

    def pictures():
        for moment in range(round(seconds * RATE)):
            picture, boxes = crowd(subject, SIZE, SMALL, ways, moment)
            truth.append(boxes)
            yield picture

    return Scene(encode(path, pictures(), preset="veryfast"), truth)


def drifting(time: float) -> tuple[float, float]:
    """Slowly through the picture: at most one and a half face heights a second, sideways and up and down."""
    return SIZE[0] * (0.5 + 0.3 * math.sin(time / 8)), SIZE[1] * (0.5 + 0.2 * math.cos(time / 5))


def swaying(time: float) -> tuple[float, float]:
    """On a path of its own, rocking by half its height to each side and back every two seconds."""
    return SIZE[0] * (0.3 + 0.01 * time) + SMALL / 2 * math.sin(math.pi * time), SIZE[1] * 0.55 + SMALL / 4 * math.sin(2 * math.pi * time)


def coming_and_going(seconds: float, seed: int, stay: tuple[float, float] = STAY) -> Way:
    """Away for a random time, then somewhere in a band of the picture for a while; again and again."""
    rng, visits, time = np.random.default_rng(seed), [], 0.0
    band = _BANDS[seed % len(_BANDS)]
    while time < seconds:
        time += rng.uniform(*_AWAY)
        end = time + rng.uniform(*stay)
        visits.append((time, end, SIZE[0] * (band + rng.uniform(0, 0.1)), SIZE[1] * rng.uniform(0.1, 0.9)))
        time = end
    return lambda now: next(((x, y) for begin, end, x, y in visits if begin <= now < end), None)


def rows_of(parts: FaceWriter, scene: Scene) -> pa.Table:
    """What the stage says of a scene: frame, source and box of the rows in which a face is seen."""
    with tempfile.TemporaryDirectory(prefix="abaw-bench-") as folder:
        path = Path(folder) / "part.parquet"
        parts.write_video(video_row(scene.path), path)
        table = pq.read_table(path, columns=["frame", "seen", "source", "box"])
    return table.filter(table["seen"])


def shared(rows: pa.Table, truth: Truth, face: int) -> tuple[np.ndarray, np.ndarray]:
    """For each frame the best overlap of any row with a face, NaN where it is not there; and whether that row's box is interpolated."""
    by_frame: dict[int, list[tuple[str, list[float]]]] = {}
    for row in rows.to_pylist():
        by_frame.setdefault(row["frame"], []).append((row["source"], row["box"]))
    best, guessed = np.full(len(truth), np.nan), np.zeros(len(truth), bool)
    for index, boxes in enumerate(truth):
        if boxes[face] is None:
            continue
        best[index] = 0.0
        for source, box in by_frame.get(index + 1, []):
            overlap = iou(np.array([box], float), boxes[face][None])[0, 0]
            if overlap > best[index]:
                best[index], guessed[index] = overlap, source == "interpolated"
    return best, guessed


def recall(overlap: np.ndarray) -> float | None:
    """Share of a face's frames in which it is found; None if there is none."""
    there = overlap[~np.isnan(overlap)]
    return float((there > FOUND).mean()) if len(there) else None


def waits(overlap: np.ndarray) -> list[float]:
    """Seconds from each coming of a face until it is found; as long as it stays, where it never is. A stay cut off by the end counts if found."""
    there = ~np.isnan(overlap)
    begins = np.flatnonzero(there & ~np.concatenate([[False], there[:-1]]))
    found = []
    for begin in begins:
        away = np.flatnonzero(~there[begin:])
        stay = overlap[begin : begin + away[0]] if len(away) else overlap[begin:]
        if (stay > FOUND).any() or len(away):
            found.append((int(np.argmax(stay > FOUND)) if (stay > FOUND).any() else len(stay)) / RATE)
    return found


def small_faces(config: FacesConfig, drift: Scene, late: Scene) -> dict:
    """What the default settings find: of a face that is there from the first frame on, and of one that comes in mid-video, alone.

    Returns:
        ``recall``, ``iou`` (mean over the frames in which it is found), ``late_s`` (mean) and ``lates_s``.
    """
    parts = FaceWriter(config)
    overlap, _ = shared(rows_of(parts, drift), drift.truth, 0)
    alone = waits(shared(rows_of(parts, late), late.truth, 0)[0])
    return {"recall": recall(overlap), "iou": float(overlap[overlap > FOUND].mean()), "late_s": mean(alone), "lates_s": alone}


def choices(config: FacesConfig, *, few: bool) -> list[FacesConfig]:
    """The settings of the curve, each once; ``few`` leaves out those that change both schedules."""
    tracks, found = config.tracks, [config]
    for search in SEARCH:
        for follow in FOLLOW:
            if few and search != tracks.search_interval_s and follow != tracks.follow_interval_s:
                continue
            static = max(follow, tracks.static_interval_s)
            found.append(replace(config, tracks=replace(tracks, search_interval_s=search, follow_interval_s=follow, static_interval_s=static)))
    found += [replace(config, tracks=replace(tracks, static_interval_s=calm)) for calm in CALM]
    found += [replace(config, window=replace(config.window, size=pixels)) for pixels in PIXELS]
    found += [replace(config, detector=replace(config.detector, width=width)) for width in WIDTHS]
    return [each for index, each in enumerate(found) if each not in found[:index]]


def curve(configs: list[FacesConfig], costs: Mapping[str, Path], scene: Scene, frames: int, rounds: int) -> list[dict]:
    """Cost and finds at several settings, in the same run.

    Args:
        configs: The settings.
        costs: Videos by name of which the stage's time is taken, their first ``frames``, all settings in turn ``rounds`` times.
        scene: Face 0 is there from the first frame to the last and moves; the others come and go, the last one briefly.
        frames: Of each video in ``costs``.
        rounds: At least 1.

    Returns:
        One row for each: its settings, per video ``stage_ms`` a frame and ``stage_over_decode`` (medians), ``lost`` (share of face 0's frames),
        ``iou_interpolated`` (mean over those of its frames that were), ``newcomer_s`` (mean seconds until a coming face is found) and
        ``brief`` (share of the last face's frames in which it is found).
    """
    parts, cost = [FaceWriter(config) for config in configs], {}
    for each in parts:
        for path in costs.values():
            stage(each, path, WARM)
    for _ in range(rounds):
        for name, path in costs.items():
            for index, each in enumerate(parts):
                times = in_turn({"decode": partial(decode_alone, path, frames), "stage": partial(stage, each, path, frames)}, 1)
                cost.setdefault((index, name), []).append((times["decode"][0], times["stage"][0]))
    rows = []
    for index, config in enumerate(configs):
        row: dict = dict(zip(SETTINGS, _settings(config), strict=True))
        row["stage_ms"] = {name: 1e3 * median(whole for _, whole in cost[index, name]) / frames for name in costs}
        row["stage_over_decode"] = {name: median(whole / alone for alone, whole in cost[index, name]) for name in costs}
        rows.append(row | _finds(rows_of(parts[index], scene), scene.truth))
    return rows


def _settings(config: FacesConfig) -> tuple[float, float, float, int, int]:
    tracks = config.tracks
    return tracks.search_interval_s, tracks.follow_interval_s, tracks.static_interval_s, config.window.size, config.detector.width


def _finds(rows: pa.Table, truth: Truth) -> dict:
    overlap, guessed = shared(rows, truth, 0)
    newcomers = [wait for face in range(1, len(truth[0]) - 1) for wait in waits(shared(rows, truth, face)[0])]
    return {
        "lost": 1 - recall(overlap),
        "iou_interpolated": float(overlap[guessed].mean()) if guessed.any() else None,
        "newcomer_s": mean(newcomers) if newcomers else None,
        "newcomers": len(newcomers),
        "brief": recall(shared(rows, truth, len(truth[0]) - 1)[0]),
    }
