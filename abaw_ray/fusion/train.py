"""Training frames -> one fusion model, and a model -> scores of any frames. Which frames may be which is ``protocols``' part.

All tensors lie in memory (on the GPU where there is one) and batches are drawn by number: a loader with workers would cost more than the
steps themselves.
"""

import warnings
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from abaw_ray.core.errors import DataError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.fusion.frames import Frames, Mode
from abaw_ray.fusion.model import FusionConfig, GatedFusion
from abaw_ray.scoring.metrics import confusion, macro_f1
from abaw_ray.training.loop import PlainEngine, run_steps
from abaw_ray.training.losses import ClassLoss
from abaw_ray.training.optim import lr_multiplier, make_adamw, parameter_groups
from abaw_ray.training.sampler import Sampler

_PREDICT = 16_384
"""Frames scored at a time."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a model has seen, so that nobody lets it score that."""

    names: frozenset[str]
    """People among its training frames."""
    sources: frozenset[str]
    """The recordings of those people."""
    encoder: frozenset[str] = frozenset()
    """People on whose chips the encoder of its features was trained."""


@dataclass(frozen=True, kw_only=True)
class TrainedFusion:
    """A model and how it came about."""

    model: GatedFusion
    """In evaluation mode; holds its settings and its standardisation."""
    seen: Seen
    curve: list[dict[str, int | float]] = field(default_factory=list)
    """Per epoch: ``epoch`` from 1, ``loss``, and ``macro_f1`` where validation rows were given."""


class DeviceFrames:
    """Frames as tensors where the training runs; made once for all folds of a trial, without a copy on a CPU."""

    def __init__(self, frames: Frames, device: torch.device | str | None = None) -> None:
        """Move the vectors; the masks follow per mode."""
        self.frames = frames
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.visual, self.speech = (_tensor(vectors, self.device) for vectors in (frames.visual, frames.speech))
        self._masks: dict[Mode, tuple[Tensor, Tensor]] = {}

    def batch(self, rows: Int[Tensor, " batch"], mode: Mode) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The model's four inputs for these rows."""
        if mode not in self._masks:
            self._masks[mode] = tuple(_tensor(mask, self.device) for mask in self.frames.present(mode))
        seen, heard = self._masks[mode]
        return self.visual[rows], self.speech[rows], seen[rows], heard[rows]


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """The array as a tensor; on a CPU they share memory, also with other processes, and nobody writes to it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)


def train_fusion(
    frames: Frames | DeviceFrames,
    config: FusionConfig,
    *,
    rows: Int[np.ndarray, " rows"] | None = None,
    val_rows: Int[np.ndarray, " val"] | None = None,
    device: str | None = None,
) -> TrainedFusion:
    """Train one model; the last epoch's is kept, so the validation rows choose nothing.

    Args:
        frames: Where rows are drawn from.
        config: The model and its training.
        rows: Rows that may be trained on, all by default; unlabelled ones and those without a vector of this mode are left out.
        val_rows: Rows scored after each epoch, for the curve alone.
        device: ``cpu`` or ``cuda``; a GPU where there is one by default. There, steps run in bfloat16.

    Raises:
        DataError: no labelled frame with a vector of this mode among the rows.
    """
    data = frames if isinstance(frames, DeviceFrames) else DeviceFrames(frames, device)
    frames = data.frames
    rows = np.arange(len(frames)) if rows is None else rows
    used = rows[(frames.labels[rows] >= 0) & frames.scored(config.mode)[rows]]
    if not len(used):
        raise DataError(f"fusion: none of {len(rows):,} training frames is labelled and has a vector for mode '{config.mode}'")
    cuda = [data.device] if data.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(config.seed)
        model = GatedFusion(frames.visual.shape[1], frames.speech.shape[1], config).to(data.device)
        model.fit_standard(frames, used)
        curve = _fit(model, data, used, val_rows)
    people = [frames.people[index] for index in np.unique(frames.person[rows])]
    seen = Seen(names=frozenset(p.name for p in people), sources=frozenset(p.source for p in people), encoder=frames.encoder_saw)
    return TrainedFusion(model=model.eval(), seen=seen, curve=curve)


def _fit(model: GatedFusion, data: DeviceFrames, used: np.ndarray, val_rows: np.ndarray | None) -> list[dict[str, int | float]]:
    """Take the steps of all epochs; one line of the curve an epoch."""
    config, labels = model.config, data.frames.labels.astype(np.int64)
    loss = ClassLoss(config.loss, labels[used], len(EXPRESSIONS))
    sampler = Sampler(size=len(used), global_batch_size=min(config.batch, len(used)), seed=config.seed)
    groups = parameter_groups(model.named_parameters(), config.optim, layer_of=lambda name: 0, layers=1)
    engine = PlainEngine(model, make_adamw(groups, config.optim), max_grad_norm=config.optim.max_grad_norm)
    targets, bf16 = torch.from_numpy(labels).to(data.device), data.device.type == "cuda"

    def loss_of(rows: np.ndarray) -> Tensor:
        at = torch.from_numpy(rows).to(data.device)
        with torch.autocast(data.device.type, torch.bfloat16, enabled=bf16):
            logits, _ = model(*data.batch(at, config.mode))
        return loss(logits, targets[at]).sum() / max(loss.weight_sum(labels[rows]), 1e-12)

    steps = config.epochs * sampler.steps_per_epoch
    losses, curve = [], []
    model.train()
    for value in run_steps(
        range(steps),
        lambda step: [used[sampler.indices(step)]],
        loss_of,
        engine,
        lr_multiplier=lambda step: lr_multiplier(step, steps, config.optim),
        seed=lambda step: config.seed * 1_000_003 + step,
    ):
        losses.append(value)
        if len(losses) == sampler.steps_per_epoch:
            curve.append({"epoch": len(curve) + 1, "loss": torch.stack(losses).mean().item()} | _val(model, data, val_rows))
            losses = []
    return curve


def _val(model: GatedFusion, data: DeviceFrames, rows: np.ndarray | None) -> dict[str, int | float]:
    if rows is None or not len(rows):
        return {}
    logits, _ = _predict(model.eval(), data, rows)
    model.train()
    return {"macro_f1": frame_macro_f1(data.frames.labels[rows], logits)}


def frame_macro_f1(labels: Int[np.ndarray, " n"], logits: Float[np.ndarray, "n 8"]) -> float:
    """Macro-F1 of single frames, not smoothed, over the labelled frames that have a score; 0 where there is none."""
    scored = np.isfinite(logits).all(axis=1)
    return float(macro_f1(confusion(labels[scored], logits[scored].argmax(axis=1))))


def predict_logits(
    trained: TrainedFusion,
    frames: Frames | DeviceFrames,
    rows: Int[np.ndarray, " rows"] | None = None,
    *,
    device: str | None = None,
) -> tuple[Float[np.ndarray, "rows 8"], Float[np.ndarray, " rows"]]:
    """Score frames, without a look at what the model has seen: whoever reports a score goes through ``protocols``.

    Returns:
        Logits (float32) and the weight of the visual vector; NaN for a frame with no vector that the model may read.
    """
    data = frames if isinstance(frames, DeviceFrames) else DeviceFrames(frames, device)
    return _predict(trained.model.to(data.device), data, np.arange(len(data.frames)) if rows is None else rows)


@torch.inference_mode()
def _predict(model: GatedFusion, data: DeviceFrames, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    logits, gate = np.full((len(rows), len(EXPRESSIONS)), np.nan, np.float32), np.full(len(rows), np.nan, np.float32)
    scored: Bool[np.ndarray, " rows"] = data.frames.scored(model.config.mode)[rows]
    places = np.flatnonzero(scored)
    for start in range(0, len(places), _PREDICT):
        some = places[start : start + _PREDICT]
        batch = data.batch(torch.from_numpy(rows[some]).to(data.device), model.config.mode)
        with torch.autocast(data.device.type, torch.bfloat16, enabled=data.device.type == "cuda"):
            one, two = model(*batch)
        logits[some], gate[some] = one.cpu().numpy(), two.float().cpu().numpy()
    return logits, gate
