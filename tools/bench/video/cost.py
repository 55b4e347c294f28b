"""Test videos -> what the stage costs in CPU time, beside decoding alone and beside what one would write first.

Each in one process with one thread, in turn, round after round: the machine may be busy, but it is as busy for the one as for the other.
"""

import io
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import cv2
from PIL import Image

from abaw_ray.core.errors import ItemError
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.output import FaceWriter
from abaw_ray.media.video import decode

WARM = 20
"""Frames before the first round: a worker builds its networks once and then does video after video."""
_NAIVE_SCORE = 0.6
"""The score from which a face counts in the naive way; so OpenCV's own examples."""


def video_row(path: Path) -> dict:
    """A ``VIDEO`` row, as far as the stage reads it."""
    return {"video": path.name, "uri": str(path), "subjects": []}


def stage(parts: FaceWriter, path: Path, frames: int | None = None) -> None:
    """The whole stage: decode, detect, follow, cut, JPEG, Parquet.

    Raises:
        ItemError: the video broke.
    """
    with tempfile.TemporaryDirectory(prefix="abaw-bench-") as folder:
        done = parts.write_video(video_row(path), Path(folder) / "part.parquet", frames)
    if done.error is not None:
        raise ItemError(f"{path}: {done.error}")


def decode_alone(path: Path, frames: int | None = None) -> int:
    """Decode with the settings of the stage and do nothing else; returns the number of frames."""
    return sum(1 for _ in decode(str(path), last=frames))


def cpu_seconds(action: Callable[[], object]) -> float:
    """CPU time of all threads of this process while it is done."""
    before = time.process_time()
    action()
    return time.process_time() - before


def in_turn(actions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each, round by round."""
    found: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            found[name].append(cpu_seconds(action))
    return found


def stage_over_decode(config: FacesConfig, path: Path, rounds: int) -> dict:
    """The ratio of one file: median over rounds, with its spread and what it was made from.

    Returns:
        ``ratio``, ``ratios`` of all rounds, ``ratio_of_fastest`` (the quickest stage by the quickest decoding: least touched by what else the
        machine does), ``decode_ms`` and ``stage_ms`` a frame (medians), ``frames``, ``mbit_s`` of the file.
    """
    parts, frames = FaceWriter(config), decode_alone(path)
    stage(parts, path, WARM)
    times = in_turn({"decode": lambda: decode_alone(path), "stage": lambda: stage(parts, path)}, rounds)
    ratios = [whole / alone for whole, alone in zip(times["stage"], times["decode"], strict=True)]
    seconds = max(frame.time for frame in decode(str(path)))
    return {
        "ratio": median(ratios),
        "ratios": ratios,
        "ratio_of_fastest": min(times["stage"]) / min(times["decode"]),
        "decode_ms": _ms(times["decode"], frames),
        "stage_ms": _ms(times["stage"], frames),
        "frames": frames,
        "mbit_s": path.stat().st_size * 8e-6 / max(seconds, 1e-9),
    }


def naive_over_stage(config: FacesConfig, path: Path, frames: int, rounds: int) -> dict:
    """How many times as much CPU time the naive way takes for the first frames of a file.

    Returns:
        ``ratio``, ``ratios``, ``naive_ms`` and ``stage_ms`` a frame (medians), ``frames``.
    """
    parts, frames = FaceWriter(config), min(frames, decode_alone(path, frames))
    stage(parts, path, WARM)
    times = in_turn({"naive": lambda: naive(path, config.detector.weights, frames), "stage": lambda: stage(parts, path, frames)}, rounds)
    ratios = [plain / ours for plain, ours in zip(times["naive"], times["stage"], strict=True)]
    return {
        "ratio": median(ratios),
        "ratios": ratios,
        "naive_ms": _ms(times["naive"], frames),
        "stage_ms": _ms(times["stage"], frames),
        "frames": frames,
    }


def naive(path: Path, weights: str, frames: int) -> int:
    """What one would write first: OpenCV's reader, YuNet at full size on every frame, one crop a face by PIL; returns how many there were."""
    reader, detector, many = cv2.VideoCapture(str(path)), None, 0
    for _ in range(frames):
        there, picture = reader.read()
        if not there:
            break
        if detector is None:
            detector = cv2.FaceDetectorYN.create(os.fspath(weights), "", (picture.shape[1], picture.shape[0]), _NAIVE_SCORE)
        found = detector.detect(picture)[1]
        image = Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        for x, y, wide, high in [] if found is None else found[:, :4]:
            crop = image.crop((int(x), int(y), int(x + wide), int(y + high))).resize((224, 224))
            crop.save(io.BytesIO(), "JPEG", quality=90)
            many += 1
    reader.release()
    return many


def _ms(seconds: list[float], frames: int) -> float:
    return 1e3 * median(seconds) / frames
