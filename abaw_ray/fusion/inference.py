"""Logits of frames by a trained model: each frame alone, or in windows of the frames around it for a temporal head."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.fusion.ensemble import average_outputs
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.model import GatedFusion
from abaw_ray.fusion.population.rows import DeviceRows
from abaw_ray.fusion.population.windows import prediction_windows, uninterrupted
from abaw_ray.fusion.trained import TrainedFusion

_BATCH_ROWS = 16_384
"""Frames per forward pass."""
Scores = tuple[Float[np.ndarray, "rows 8"], Float[np.ndarray, " rows"]]
"""Logits, and the weight of the visual vector."""


def predict_logits(trained: TrainedFusion, frames: Frames, rows: Int64[np.ndarray, " rows"] | None = None, *, device: str | None = None) -> Scores:
    """Logits of the given rows, without a provenance check; for reported scores, use ``protocols``. Models of several seeds are averaged.

    Args:
        trained: The model.
        frames: All frames.
        rows: Rows in ascending order, by default all. A temporal head reads no frame but these, so whole subjects should be given.
        device: ``cpu`` or ``cuda``; by default a GPU where there is one.

    Returns:
        Logits (float32) and the weight of the visual vector; NaN for a frame without a vector that the model reads.
    """
    return predict_average([trained], frames, rows, device=device)


def predict_average(
    ensemble: Sequence[TrainedFusion], frames: Frames, rows: Int64[np.ndarray, " rows"] | None = None, *, device: str | None = None
) -> Scores:
    """As ``predict_logits``, averaged over several models of one mode (``average_outputs``), all their seeds alike; the rows are copied to the device
    once.
    """
    target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    rows = np.arange(len(frames)) if rows is None else rows
    models = [model for trained in ensemble for model in trained.models]
    data = DeviceRows(frames, models[0].config.mode, target, rows)
    outputs = [_predict(model.to(target), data, rows) for model in models]
    return outputs[0] if len(outputs) == 1 else average_outputs(outputs)


@torch.inference_mode()
def _predict(model: GatedFusion, data: DeviceRows, rows: Int64[np.ndarray, " rows"]) -> Scores:
    logits, gate = np.full((len(rows), len(EXPRESSIONS)), np.nan, np.float32), np.full(len(rows), np.nan, np.float32)
    scored = data.frames.scored(model.config.mode)
    for batch, counted, length in _batches(model, data.frames, rows[scored[rows]] if model.config.head == "frame" else rows):
        windows = data.windows(batch, length) if length else None
        with torch.autocast(data.device.type, torch.bfloat16, enabled=data.device.type == "cuda"):
            batch_logits, batch_gate = model(*data.inputs(batch), windows)
        own = batch[counted]
        at = np.searchsorted(rows, own)
        logits[at], gate[at] = batch_logits.cpu().numpy()[counted], batch_gate.float().cpu().numpy()[counted]
    missing = ~scored[rows]
    logits[missing], gate[missing] = np.nan, np.nan
    return logits, gate


def _batches(
    model: GatedFusion, frames: Frames, rows: Int64[np.ndarray, " rows"]
) -> Iterator[tuple[Int64[np.ndarray, " n"], Bool[np.ndarray, " n"], int]]:
    """Rows of a forward pass, those whose output counts, and the length of the windows in which they are arranged, 0 for none."""
    config = model.config
    if config.head == "frame":
        for start in range(0, len(rows), _BATCH_ROWS):
            batch = rows[start : start + _BATCH_ROWS]
            yield batch, np.ones(len(batch), dtype=bool), 0
        return
    length, pending, size = config.window_rows, [], 0
    for windows, counted in prediction_windows(uninterrupted(frames, rows, config), length):
        pending.append((windows.ravel(), counted.ravel()))
        size += windows.size
        if size >= _BATCH_ROWS:
            yield _joined(pending, length)
            pending, size = [], 0
    if pending:
        yield _joined(pending, length)


def _joined(parts: list[tuple[np.ndarray, np.ndarray]], length: int) -> tuple[np.ndarray, np.ndarray, int]:
    rows, counted = zip(*parts, strict=True)
    return np.concatenate(rows), np.concatenate(counted), length
