"""Recall of the stage on videos of small faces at known positions, and its recall and cost at other settings.

A face is detected in a frame if the box of any row overlaps the true box by more than ``MIN_IOU``.
"""

import math
import tempfile
from collections.abc import Iterator, Mapping
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
from tools.bench.video.clips import RATE, Boxes, Subject, Trajectory, crowd, encode
from tools.bench.video.cost import WARMUP_FRAMES, alternate, decode_only, run_stage, video_row

MIN_IOU = 0.3
"""Intersection over union of a row's box and the true box above which the face counts as detected."""
FACE_HEIGHT = 48.0
"""Height of a small face's box in pixels."""
SIZE = (1920, 1080)
LONG_VISIT, BRIEF_VISIT = (4.5, 4.5), (0.4, 3.0)
"""Range of a visit's seconds: slightly longer than the longest search interval, or so brief that the visit may fall between two searches."""
_ABSENCE = (0.5, 2.5)
"""Range of the seconds between two visits."""
_BANDS = (0.5, 0.66, 0.82)
"""Left edge of the band of each visitor, as a share of the frame width."""
SEARCH, FOLLOW = (0.5, 1.0, 2.0, 4.0), (0.1, 0.2, 0.4)
"""``tracks.search_interval_s`` and ``tracks.follow_interval_s`` of the curve, in seconds."""
STATIC, WINDOW_SIZES, WIDTHS = (0.2, 0.4), (96, 128, 160), (480, 640, 800)
"""``tracks.static_interval_s``, ``window.size`` and ``detector.width`` of the curve's further rows."""

SETTINGS = ("tracks.search_interval_s", "tracks.follow_interval_s", "tracks.static_interval_s", "window.size", "detector.width")
"""Settings that the curve changes."""

Truth = list[Boxes]
"""True boxes by frame."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A video of small faces and their true boxes."""

    path: Path
    truth: Truth


def make_scene(subject: Subject, path: Path, trajectories: list[Trajectory], seconds: float) -> Scene:
    """Render and encode a scene, with a faster libx264 preset than the videos whose cost is measured."""
    truth: Truth = []

    def frames() -> Iterator[np.ndarray]:
        for index in range(round(seconds * RATE)):
            image, boxes = crowd(subject, SIZE, FACE_HEIGHT, trajectories, index)
            truth.append(boxes)
            yield image

    return Scene(encode(path, frames(), preset="veryfast"), truth)


def drifting(time: float) -> tuple[float, float]:
    """Return a position in pixels at a time in seconds; it moves slowly, at most 1.5 face heights per second."""
    return SIZE[0] * (0.5 + 0.3 * math.sin(time / 8)), SIZE[1] * (0.5 + 0.2 * math.cos(time / 5))


def swaying(time: float) -> tuple[float, float]:
    """Return a position in pixels at a time in seconds; it swings by half a face height to each side every two seconds."""
    return SIZE[0] * (0.3 + 0.01 * time) + FACE_HEIGHT / 2 * math.sin(math.pi * time), SIZE[1] * 0.55 + FACE_HEIGHT / 4 * math.sin(2 * math.pi * time)


def visits(seconds: float, seed: int, stay: tuple[float, float] = LONG_VISIT) -> Trajectory:
    """Return a trajectory of visits at random positions in a band of the frame, separated by random absences."""
    rng, times, time = np.random.default_rng(seed), [], 0.0
    band = _BANDS[seed % len(_BANDS)]
    while time < seconds:
        time += rng.uniform(*_ABSENCE)
        end = time + rng.uniform(*stay)
        times.append((time, end, SIZE[0] * (band + rng.uniform(0, 0.1)), SIZE[1] * rng.uniform(0.1, 0.9)))
        time = end
    return lambda now: next(((x, y) for start, end, x, y in times if start <= now < end), None)


def detected_rows(writer: FaceWriter, scene: Scene) -> pa.Table:
    """Return frame, source and box of the rows of a scene in which a face is seen."""
    with tempfile.TemporaryDirectory(prefix="abaw-bench-") as folder:
        path = Path(folder) / "output.parquet"
        writer.write_video(video_row(scene.path), path)
        table = pq.read_table(path, columns=["frame", "seen", "source", "box"])
    return table.filter(table["seen"])


def best_overlap(rows: pa.Table, truth: Truth, face: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each frame the best overlap of any row with a face (NaN where the face is absent), and whether that box is interpolated."""
    by_frame: dict[int, list[tuple[str, list[float]]]] = {}
    for row in rows.to_pylist():
        by_frame.setdefault(row["frame"], []).append((row["source"], row["box"]))
    best, interpolated = np.full(len(truth), np.nan), np.zeros(len(truth), bool)
    for index, boxes in enumerate(truth):
        true_box = boxes[face]
        if true_box is None:
            continue
        best[index] = 0.0
        for source, box in by_frame.get(index + 1, []):
            overlap = iou(np.array([box], float), true_box[None])[0, 0]
            if overlap > best[index]:
                best[index], interpolated[index] = overlap, source == "interpolated"
    return best, interpolated


def recall(overlap: np.ndarray) -> float | None:
    """Return the share of a face's frames in which it is detected; None without such frames."""
    present = overlap[~np.isnan(overlap)]
    return float((present > MIN_IOU).mean()) if len(present) else None


def detection_delays(overlap: np.ndarray) -> list[float]:
    """Return the seconds from each appearance of a face to its first detection, or to its disappearance if it is not detected.

    An appearance that lasts to the end of the video counts only if the face is detected.
    """
    present = ~np.isnan(overlap)
    delays = []
    for start in np.flatnonzero(present & ~np.concatenate([[False], present[:-1]])):
        absent = np.flatnonzero(~present[start:])
        visit = overlap[start : start + absent[0]] if len(absent) else overlap[start:]
        detected = visit > MIN_IOU
        if detected.any() or len(absent):
            delays.append((int(np.argmax(detected)) if detected.any() else len(visit)) / RATE)
    return delays


def small_faces(config: FacesConfig, drift: Scene, late: Scene) -> dict:
    """Measure the recall for a face that is present from the first frame, and the detection delay of one that appears later.

    Returns:
        ``recall``, ``iou`` (mean over the frames in which it is detected), ``late_s`` (mean) and ``lates_s``.
    """
    writer = FaceWriter(config)
    overlap, _ = best_overlap(detected_rows(writer, drift), drift.truth, 0)
    delays = detection_delays(best_overlap(detected_rows(writer, late), late.truth, 0)[0])
    return {"recall": recall(overlap), "iou": float(overlap[overlap > MIN_IOU].mean()), "late_s": mean(delays), "lates_s": delays}


def curve_settings(config: FacesConfig, *, few: bool) -> list[FacesConfig]:
    """Return the settings of the curve without repetitions; ``few`` leaves out those that change both intervals."""
    tracks, settings = config.tracks, [config]
    for search in SEARCH:
        for follow in FOLLOW:
            if few and search != tracks.search_interval_s and follow != tracks.follow_interval_s:
                continue
            settings.append(
                replace(
                    config,
                    tracks=replace(
                        tracks, search_interval_s=search, follow_interval_s=follow, static_interval_s=max(follow, tracks.static_interval_s)
                    ),
                )
            )
    settings += [replace(config, tracks=replace(tracks, static_interval_s=interval)) for interval in STATIC]
    settings += [replace(config, window=replace(config.window, size=size)) for size in WINDOW_SIZES]
    settings += [replace(config, detector=replace(config.detector, width=width)) for width in WIDTHS]
    return [setting for index, setting in enumerate(settings) if setting not in settings[:index]]


def curve(configs: list[FacesConfig], costs: Mapping[str, Path], scene: Scene, frames: int, rounds: int) -> list[dict]:
    """Measure cost and recall at several settings.

    Args:
        configs: The settings.
        costs: Videos by name for the cost of the stage; the settings alternate.
        scene: Face 0 is present in every frame and moves; the others appear and disappear, the last one briefly.
        frames: Number of frames of each video in ``costs``.
        rounds: Number of rounds, at least 1.

    Returns:
        One row per setting: its values, by video ``stage_ms`` per frame and ``stage_over_decode`` (medians), ``lost`` (share of face 0's frames
        without detection), ``iou_interpolated`` (mean over its interpolated frames), ``newcomer_s`` (mean detection delay) and ``brief`` (recall
        of the last face).
    """
    writers, cost = [FaceWriter(config) for config in configs], {}
    for writer in writers:
        for path in costs.values():
            run_stage(writer, path, WARMUP_FRAMES)
    for _ in range(rounds):
        for name, path in costs.items():
            for index, writer in enumerate(writers):
                times = alternate({"decode": partial(decode_only, path, frames), "stage": partial(run_stage, writer, path, frames)}, 1)
                cost.setdefault((index, name), []).append((times["decode"][0], times["stage"][0]))
    rows = []
    for index, config in enumerate(configs):
        row: dict = dict(zip(SETTINGS, _settings(config), strict=True))
        row["stage_ms"] = {name: 1e3 * median(stage for _, stage in cost[index, name]) / frames for name in costs}
        row["stage_over_decode"] = {name: median(stage / decoding for decoding, stage in cost[index, name]) for name in costs}
        rows.append(row | _recall_figures(detected_rows(writers[index], scene), scene.truth))
    return rows


def _settings(config: FacesConfig) -> tuple[float, float, float, int, int]:
    tracks = config.tracks
    return tracks.search_interval_s, tracks.follow_interval_s, tracks.static_interval_s, config.window.size, config.detector.width


def _recall_figures(rows: pa.Table, truth: Truth) -> dict:
    overlap, interpolated = best_overlap(rows, truth, 0)
    detected = recall(overlap)
    delays = [delay for face in range(1, len(truth[0]) - 1) for delay in detection_delays(best_overlap(rows, truth, face)[0])]
    return {
        "lost": None if detected is None else 1 - detected,
        "iou_interpolated": float(overlap[interpolated].mean()) if interpolated.any() else None,
        "newcomer_s": mean(delays) if delays else None,
        "newcomers": len(delays),
        "brief": recall(best_overlap(rows, truth, len(truth[0]) - 1)[0]),
    }
