"""CPU time of the stage on test videos, relative to decoding alone and to a naive implementation.

The alternatives run in turn in one process with one thread, so that other load on the machine affects them equally.
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

WARMUP_FRAMES = 20
"""Frames processed before the first round, because a worker builds its networks only once."""
_NAIVE_SCORE = 0.6
"""Minimum detection score of the naive implementation, as in OpenCV's examples."""


def video_row(path: Path) -> dict:
    """Return the columns of a ``VIDEO`` row that the stage reads."""
    return {"video": path.name, "uri": str(path), "subjects": []}


def run_stage(writer: FaceWriter, path: Path, frames: int | None = None) -> None:
    """Run the whole stage on a video: decoding, detection, tracking, cropping, JPEG, Parquet.

    Raises:
        ItemError: the video is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="abaw-bench-") as folder:
        result = writer.write_video(video_row(path), Path(folder) / "output.parquet", last=frames)
    if result.error is not None:
        raise ItemError(f"{path}: {result.error}")


def decode_only(path: Path, frames: int | None = None) -> int:
    """Decode a video with the settings of the stage; returns the number of frames."""
    return sum(1 for _ in decode(str(path), max_frames=frames))


def cpu_seconds(action: Callable[[], object]) -> float:
    """Return the CPU seconds of all threads of this process during the action."""
    before = time.process_time()
    action()
    return time.process_time() - before


def alternate(actions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of each action by round; the actions alternate."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            seconds[name].append(cpu_seconds(action))
    return seconds


def stage_over_decode(config: FacesConfig, path: Path, rounds: int) -> dict:
    """Measure CPU time of the stage / of decoding alone for one file; medians over rounds.

    Returns:
        ``ratio``, ``ratios`` of all rounds, ``ratio_of_fastest`` (of the fastest rounds, which other load on the machine affects least),
        ``decode_ms`` and ``stage_ms`` per frame (medians), ``frames``, ``mbit_s`` of the file.
    """
    writer, frames = FaceWriter(config), decode_only(path)
    run_stage(writer, path, WARMUP_FRAMES)
    times = alternate({"decode": lambda: decode_only(path), "stage": lambda: run_stage(writer, path)}, rounds)
    ratios = [stage / decoding for stage, decoding in zip(times["stage"], times["decode"], strict=True)]
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
    """Measure CPU time of the naive implementation / of the stage for the first frames of a file.

    Returns:
        ``ratio``, ``ratios``, ``naive_ms`` and ``stage_ms`` per frame (medians), ``frames``.
    """
    writer, frames = FaceWriter(config), min(frames, decode_only(path, frames))
    run_stage(writer, path, WARMUP_FRAMES)
    times = alternate({"naive": lambda: naive(path, config.detector.weights, frames), "stage": lambda: run_stage(writer, path, frames)}, rounds)
    ratios = [naive_s / stage_s for naive_s, stage_s in zip(times["naive"], times["stage"], strict=True)]
    return {
        "ratio": median(ratios),
        "ratios": ratios,
        "naive_ms": _ms(times["naive"], frames),
        "stage_ms": _ms(times["stage"], frames),
        "frames": frames,
    }


def naive(path: Path, weights: str, frames: int) -> int:
    """Run a naive implementation: OpenCV's reader, YuNet at full size on every frame, one PIL crop per face; returns the number of crops."""
    reader, detector, crops = cv2.VideoCapture(str(path)), None, 0
    for _ in range(frames):
        success, image = reader.read()
        if not success:
            break
        if detector is None:
            detector = cv2.FaceDetectorYN.create(os.fspath(weights), "", (image.shape[1], image.shape[0]), _NAIVE_SCORE)
        faces = detector.detect(image)[1]
        pil_image = Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        for x, y, width, height in [] if faces is None else faces[:, :4]:
            crop = pil_image.crop((int(x), int(y), int(x + width), int(y + height))).resize((224, 224))
            crop.save(io.BytesIO(), "JPEG", quality=90)
            crops += 1
    reader.release()
    return crops


def _ms(seconds: list[float], frames: int) -> float:
    return 1e3 * median(seconds) / frames
