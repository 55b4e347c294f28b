"""CPU seconds of the parts of an analysis per second of video, measured on the classes that do the work. One worker: one video after the other.

Faces and sound are found in child processes, whose CPU time the operating system counts; the networks are wrapped by ``Timed``.
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.faces.config import FacesConfig
from abaw_ray.media.playback.header import read_header
from abaw_ray.predict.analysis import Analysis
from abaw_ray.predict.analyzer import Analyzer
from abaw_ray.predict.bundle.store import open_bundle
from abaw_ray.predict.config import AnalysisConfig, DetectorChoice, OutputConfig
from abaw_ray.predict.estimate.model import model_cost
from abaw_ray.predict.find_faces import FindFaces
from abaw_ray.predict.models.load import load_model
from abaw_ray.predict.output.files import OutputWriter
from abaw_ray.predict.score_faces import ScoreFaces
from tools.bench.video.cost import decode_only, video_row

_WARMUP_FPS = 0.01
"""Frames per second that are scored before the first round: one frame, for what happens only once in a worker."""


class Timed:
    """A callable that adds up the CPU seconds of its calls; all else is that of the wrapped object."""

    def __init__(self, call: Any) -> None:
        self._call, self.seconds = call, 0.0

    def __call__(self, *args: Any) -> Any:
        """Call it."""
        before = time.process_time()
        try:
            return self._call(*args)
        finally:
            self.seconds += time.process_time() - before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


def line_through(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """Value at 0, not below 0, and slope of the line through two points; below 0 the line goes through 0 and the second point."""
    slope = (second[1] - first[1]) / (second[0] - first[0])
    start = first[1] - slope * first[0]
    return (start, slope) if start >= 0 else (0.0, second[1] / second[0])


def tree_seconds() -> float:
    """CPU seconds of this process, of its children, and of those that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system + sum(_seconds(child) for child in _children())


def _children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system


def timed(action: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """The result of an action; CPU seconds of the process tree, and wall seconds."""
    cpu, wall = tree_seconds(), time.monotonic()
    result = action()
    return result, (tree_seconds() - cpu, time.monotonic() - wall)


def find_seconds(faces: FacesConfig, path: Path, rounds: int) -> dict[str, float]:
    """Measure decoding, faces and sound of one video. Call it in a new process.

    Returns:
        Per frame: ``decode_ms`` and ``find_ms`` (decoding, detection, tracking, crops), ``ratio``; ``sound_ms`` per second; ``frames``,
        ``seconds``, ``megapixels`` (of a frame), ``seen`` (share of the frames), ``chip_bytes`` (per square pixel of the largest chip). Medians.
    """
    header, frames = read_header(str(path)), decode_only(path)
    silent, heard = (FindFaces(faces, ChildLimits(), with_audio=audio) for audio in (False, True))
    figures: dict[str, list[float]] = {"decode": [], "silent": [], "heard": []}
    with tempfile.TemporaryDirectory(prefix="abaw-bench-") as folder:
        found = heard(video_row(path), Path(folder))
        silent(video_row(path), Path(folder))  # both children have started
        for _ in range(rounds):
            figures["decode"].append(timed(lambda: decode_only(path))[1][0])
            for name, find in (("silent", silent), ("heard", heard)):
                figures[name].append(timed(lambda find=find: find(video_row(path), Path(folder)))[1][0])
        stored = sum(file.stat().st_size for file in Path(folder).glob("*.parquet"))
    for find in (silent, heard):
        find.close()
    decode, silent_s, heard_s = (median(figures[name]) for name in ("decode", "silent", "heard"))
    return {
        "decode_ms": 1e3 * decode / frames,
        "find_ms": 1e3 * silent_s / frames,
        "ratio": silent_s / decode,
        "sound_ms": 1e3 * max(heard_s - silent_s, 0.0) / header.duration_s,
        "frames": frames,
        "seconds": header.duration_s,
        "megapixels": header.width * header.height / 1e6,
        "seen": found.faces / max(found.frames, 1),
        "chip_bytes": stored / max(found.faces, 1) / faces.chips.max_side**2,
    }


def score_seconds(model: Path, faces: FacesConfig, path: Path, fps: float, rounds: int) -> dict[str, float]:
    """Measure the networks, fusion and files of one video with one model. Call it in a new process.

    Returns:
        ``face_ms`` (encoder, per face at all scales), ``images`` per face, ``image_gflop``; ``speech_ms`` per second of sound,
        ``speech_gflop``; per row ``fusion_ms`` (fusion, smoothing, table) and ``write_ms``; ``rows``, ``seen``, ``seconds``, ``load_s``; of the
        files ``csv``, ``parquet`` and ``html`` ``_bytes`` per row and ``_base_bytes``; ``wall_over_cpu`` of all of it. Medians.
    """
    with open_bundle(str(model)) as bundle:
        cost = model_cost(bundle.folder, bundle.metadata)
    start = time.process_time()
    loaded, metadata = load_model(str(model))
    load_s = time.process_time() - start
    extract: Any = loaded._extract  # pyright: ignore[reportAttributeAccessIssue] - its two networks are wrapped
    extract.visual, extract.speech = visual, speech = Timed(extract.visual), Timed(extract.speech)
    score, find = ScoreFaces(loaded, metadata, AnalysisConfig(fps=fps)), FindFaces(faces, ChildLimits())
    parts: dict[str, list[float]] = {"visual": [], "speech": [], "score": [], "write": [], "ratio": []}
    with tempfile.TemporaryDirectory(prefix="abaw-bench-") as found, tempfile.TemporaryDirectory(prefix="abaw-bench-") as out:
        find(video_row(path), Path(found))
        find.close()
        writer = OutputWriter(Storage(StorageConfig(uri=out)), OutputConfig(format="csv,parquet"), ChildLimits())
        writer(ScoreFaces(loaded, metadata, AnalysisConfig(fps=_WARMUP_FPS))(video_row(path), Path(found)), "first", "bench")
        analysis = None
        for _ in range(rounds):
            visual.seconds = speech.seconds = 0.0
            analysis, (score_cpu, score_wall) = timed(lambda: score(video_row(path), Path(found)))
            _, (write_cpu, write_wall) = timed(lambda analysis=analysis: writer(analysis, "video", "bench"))
            ratio = (score_wall + write_wall) / (score_cpu + write_cpu)
            for name, value in zip(parts, (visual.seconds, speech.seconds, score_cpu, write_cpu, ratio), strict=True):
                parts[name].append(value)
        assert analysis is not None, "at least one round"
        writer(replace(analysis, table=analysis.table.slice(0, len(analysis.table) // 2)), "half", "bench")
        sizes = {name: {file.suffix[1:]: file.stat().st_size for file in Path(out).glob(f"{name}.*")} for name in ("half", "video")}
    return _per_unit({name: median(values) for name, values in parts.items()}, analysis, sizes) | {
        "images": cost.images,
        "image_gflop": cost.image_gflop,
        "speech_gflop": cost.speech_gflop,
        "load_s": load_s,
    }


def _per_unit(parts: dict[str, float], analysis: Analysis, sizes: dict[str, dict[str, int]]) -> dict[str, float]:
    """CPU seconds and bytes of one video -> per image, second and row."""
    rows, seen = len(analysis.table), sum(analysis.table["seen"].to_pylist())
    files = {kind: line_through((rows // 2, sizes["half"][kind]), (rows, sizes["video"][kind])) for kind in ("csv", "parquet", "html")}
    return {
        "face_ms": 1e3 * parts["visual"] / max(seen, 1),
        "speech_ms": 1e3 * parts["speech"] / analysis.video.duration_s,
        "fusion_ms": 1e3 * (parts["score"] - parts["visual"] - parts["speech"]) / rows,
        "write_ms": 1e3 * parts["write"] / rows,
        "wall_over_cpu": parts["ratio"],
        "rows": rows,
        "seen": seen,
        "seconds": analysis.video.duration_s,
        **{f"{kind}_bytes": line[1] for kind, line in files.items()},
        **{f"{kind}_base_bytes": line[0] for kind, line in files.items()},
    }


def overlay_seconds(model: Path, faces: FacesConfig, path: Path, rounds: int) -> dict[str, float]:
    """Measure the overlay of one video of at most the overlay's size. Call it in a new process.

    Returns:
        Per megapixel of its frames: ``encode_ms`` (decoding, drawing, encoding) and ``bytes``. Medians.
    """
    detector = DetectorChoice(kind="yunet", weights=faces.detector.weights)
    with Analyzer(str(model), detector=detector) as analyzer:
        analysis = analyzer(path)
    megapixels, seconds = len(analysis.table) * analysis.video.width * analysis.video.height / 1e6, []
    with tempfile.TemporaryDirectory(prefix="abaw-bench-") as out:
        writer = OutputWriter(Storage(StorageConfig(uri=out)), OutputConfig(), ChildLimits())
        for _ in range(1 + rounds):  # the first call starts the child
            seconds.append(timed(lambda: writer.write_overlay(analysis, "video.mp4"))[1][0])
        writer.close()
        size = (Path(out) / "video.mp4").stat().st_size
    return {"encode_ms": 1e3 * median(seconds[1:]) / megapixels, "bytes": size / megapixels}
