"""A video's ``ANALYSIS`` table and audio level -> the data of its page, as compact text for ``data.js``.

Per person and frame: 8 bytes of probabilities, 8 of box, 1 each of label, flags and gate. 54,000 frames of three people take 4 MB.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int, Int16, UInt8

from abaw_ray.core.expressions import COLORS, EXPRESSIONS
from abaw_ray.core.frame_times import FrameTimes
from abaw_ray.core.tables import float_array, index_array, rows_of_person
from abaw_ray.report.tracks.track import STATES
from abaw_ray.report.video.inputs import AudioLevel, VideoPage
from abaw_ray.report.web.encoding import MISSING_BYTE, quantize, to_base64

_BOX_UNITS = 8192
"""Units of a box per side of the frame: an eighth of a pixel in a frame of 1,024 pixels. Four sides fit into 16 bits."""
_MISSING_BOX = -32768
_SILENCE_DB = -60.0
"""Level in dB that is drawn as zero. Ours: the noise of a quiet room with an ordinary microphone."""


def encode_video(page: VideoPage) -> dict[str, Any]:
    """JSON values of a page.

    ``steps`` has the microseconds from each frame to the next (32 bits), so that sums are exact. Arrays of a person have one entry for each
    frame from ``first`` (an index) on; missing rows are missing values. Where only some frames of the video have rows, ``frames`` has their
    numbers; the page shows each until the next one. ``from`` and ``to`` are null where the analysis begins and ends with the video.
    """
    frames = FrameTimes.of(page.table["frame"].to_numpy(), page.table["time"].to_numpy(), page.end_s)
    frame, ticks = frames.frame, np.rint(frames.time * 1e6).astype(np.int64)
    return {
        "width": page.width,
        "height": page.height,
        "expressions": list(EXPRESSIONS),
        "colors": [COLORS[name] for name in EXPRESSIONS],
        "boxUnits": _BOX_UNITS,
        "states": list(STATES),
        "frames": to_base64(frame.astype("<i4")) if _is_sparse(frame) else None,
        "firstFrame": int(frame[0]) if len(frame) else 1,
        "firstTime": int(ticks[0]) if len(frame) else 0,
        "steps": to_base64(np.diff(ticks).astype("<u4")),
        "videoStart": page.video_start,
        "from": page.analyzed_from,
        "to": page.analyzed_to,
        "end": float(frames.ends[-1]) if len(frame) else 0.0,
        "people": [_encode_person(page, name, frames) for name in page.ordered_people()],
        "audio": None if page.audio is None else _encode_audio(page.audio),
    }


def _encode_person(page: VideoPage, name: str, frames: FrameTimes) -> dict[str, Any]:
    """JSON values of one person."""
    rows = rows_of_person(page.table, name)
    position = frames.positions(rows["frame"].to_numpy())
    first, at = int(position[0]), position - position[0]
    count = int(at[-1]) + 1
    gate = rows["gate"]
    probability = float_array(rows, [f"p_{expression.lower()}" for expression in EXPRESSIONS])
    return {
        "name": name,
        "first": first,
        "count": count,
        "label": _scatter(index_array(rows["label"], EXPRESSIONS).astype(np.uint8), at, count, MISSING_BYTE),  # -1 becomes 255
        "probability": _scatter(quantize(probability.astype(np.float32)), at, count, MISSING_BYTE),
        "box": _scatter(_boxes(rows, page.width, page.height), at, count, _MISSING_BOX),
        "flags": _scatter(_flags(rows), at, count, 0),
        "gate": None if gate.null_count == len(rows) else _scatter(quantize(gate.to_numpy().astype(np.float32)), at, count, MISSING_BYTE),
    }


def _is_sparse(frame: Int[np.ndarray, " frames"]) -> bool:
    """Whether frames between the first and the last have no row, as after an analysis at a lower rate."""
    return len(frame) > 0 and int(frame[-1] - frame[0]) + 1 != len(frame)


def _scatter(values: np.ndarray, at: Int[np.ndarray, " rows"], count: int, missing: int) -> str:
    spread = np.full((count, *values.shape[1:]), missing, values.dtype)
    spread[at] = values
    return to_base64(spread)


def _boxes(rows: pa.Table, width: int, height: int) -> Int16[np.ndarray, "rows 4"]:
    """Corners x0 y0 x1 y1 in ``_BOX_UNITS`` per side of the frame."""
    box = float_array(rows, [f"box_{edge}" for edge in ("x0", "y0", "x1", "y1")])
    scaled = np.clip(np.rint(box / [width, height, width, height] * _BOX_UNITS), -32767, 32767)
    return np.where(np.isnan(scaled), _MISSING_BOX, scaled).astype("<i2")


def _flags(rows: pa.Table) -> UInt8[np.ndarray, " rows"]:
    """Bits: 1 seen, 2 heard, 4 scored; from 8 on the index of the box's source in ``STATES``."""
    source = (index_array(rows["source"], STATES[1:]) + 1).astype(np.uint8)
    seen, heard, scored = (rows[name].to_numpy().astype(np.uint8) for name in ("seen", "heard", "scored"))
    return seen | heard << 1 | scored << 2 | source << 3


def _encode_audio(audio: AudioLevel) -> dict[str, str]:
    level = np.clip(1 - audio.level / _SILENCE_DB, 0, 1)
    return {"time": to_base64(audio.time.astype("<f4")), "level": to_base64(quantize(level))}
