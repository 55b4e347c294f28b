"""Trains one fusion model, and computes logits of frames with it. ``protocols`` selects the frames for training and for scoring.

All tensors stay in memory (on the GPU where there is one) and batches are gathered by index: a data loader with worker processes would be slower
than the training steps.
"""

import warnings
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from abaw_ray.core.errors import DataError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.fusion.config import FusionConfig, Mode
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.model import GatedFusion
from abaw_ray.scoring.metrics import confusion_matrix, macro_f1
from abaw_ray.training.loop import PlainEngine, run_steps
from abaw_ray.training.losses import ClassLoss
from abaw_ray.training.optim import lr_multiplier, make_adamw, parameter_groups
from abaw_ray.training.sampler import Sampler

_PREDICT_BATCH_SIZE = 16_384
"""Frames per forward pass at inference."""


@dataclass(frozen=True, kw_only=True)
class TrainingProvenance:
    """The subjects and recordings that a model was trained on; ``protocols`` rejects scores on the same data."""

    subjects: frozenset[str]
    """Names of the subjects in its training frames."""
    recordings: frozenset[str]
    """The recordings of those subjects."""
    encoder_train_subjects: frozenset[str] = frozenset()
    """Names of the subjects whose face crops trained the encoder of its features."""


@dataclass(frozen=True, kw_only=True)
class TrainedFusion:
    """A trained model, its provenance and its training curve."""

    model: GatedFusion
    """In evaluation mode; includes its settings and its standardization."""
    provenance: TrainingProvenance
    curve: list[dict[str, int | float]] = field(default_factory=list)
    """One entry per epoch: ``epoch`` from 1, ``loss``, and ``macro_f1`` where validation rows were given."""


class DeviceFrames:
    """Frames as tensors on the training device; shared by all folds of a trial, zero-copy on a CPU."""

    def __init__(self, frames: Frames, device: torch.device | str | None = None) -> None:
        """Move the vectors to the device; masks are moved on first use of a mode."""
        self.frames = frames
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.visual, self.speech = (_tensor(vectors, self.device) for vectors in (frames.visual, frames.speech))
        self._masks: dict[Mode, tuple[Tensor, Tensor]] = {}

    def batch(self, rows: Int[Tensor, " batch"], mode: Mode) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The model's four inputs for these rows."""
        if mode not in self._masks:
            visual, speech = self.frames.present(mode)
            self._masks[mode] = _tensor(visual, self.device), _tensor(speech, self.device)
        seen, heard = self._masks[mode]
        return self.visual[rows], self.speech[rows], seen[rows], heard[rows]


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """The array as a tensor; on a CPU they share memory, also with other processes, so the tensor is read-only."""
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
    """Train one model. The weights of the last epoch are kept: validation rows do not select a checkpoint.

    Args:
        frames: All frames.
        config: Model and training settings.
        rows: Rows to train on, all by default; unlabelled rows and rows without a vector of this mode are ignored.
        val_rows: Rows scored after each epoch, for the curve only.
        device: ``cpu`` or ``cuda``; by default a GPU where there is one. On a GPU, steps use bfloat16 autocast.

    Raises:
        DataError: none of the rows is labelled and has a vector of this mode.
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
        model.fit_standardizers(frames, used)
        curve = _fit(model, data, used, val_rows)
    subjects = [frames.subjects[index] for index in np.unique(frames.subject_index[rows])]
    provenance = TrainingProvenance(
        subjects=frozenset(subject.name for subject in subjects),
        recordings=frozenset(subject.recording for subject in subjects),
        encoder_train_subjects=frames.encoder_train_subjects,
    )
    return TrainedFusion(model=model.eval(), provenance=provenance, curve=curve)


def _fit(model: GatedFusion, data: DeviceFrames, used: np.ndarray, val_rows: np.ndarray | None) -> list[dict[str, int | float]]:
    """Run all optimizer steps; returns one curve entry per epoch."""
    config, labels = model.config, data.frames.labels.astype(np.int64)
    loss = ClassLoss(config.loss, labels[used], len(EXPRESSIONS))
    sampler = Sampler(size=len(used), global_batch_size=min(config.batch_size, len(used)), seed=config.seed)
    groups = parameter_groups(model.named_parameters(), config.optim, layer_of=lambda name: 0, layers=1)
    engine = PlainEngine(model, make_adamw(groups, config.optim), max_grad_norm=config.optim.max_grad_norm)
    targets, bf16 = torch.from_numpy(labels).to(data.device), data.device.type == "cuda"

    def loss_of(rows: np.ndarray) -> Tensor:
        index = torch.from_numpy(rows).to(data.device)
        with torch.autocast(data.device.type, torch.bfloat16, enabled=bf16):
            logits, _ = model(*data.batch(index, config.mode))
        return loss(logits, targets[index]).sum() / max(loss.weight_sum(labels[rows]), 1e-12)

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
            curve.append({"epoch": len(curve) + 1, "loss": torch.stack(losses).mean().item()} | _validate(model, data, val_rows))
            losses = []
    return curve


def _validate(model: GatedFusion, data: DeviceFrames, rows: np.ndarray | None) -> dict[str, int | float]:
    if rows is None or not len(rows):
        return {}
    logits, _ = _predict(model.eval(), data, rows)
    model.train()
    return {"macro_f1": frame_macro_f1(data.frames.labels[rows], logits)}


def frame_macro_f1(labels: Int[np.ndarray, " n"], logits: Float[np.ndarray, "n 8"]) -> float:
    """Macro-F1 of unsmoothed predictions over the labelled, scored frames; 0 where there is none."""
    scored = np.isfinite(logits).all(axis=1)
    return float(macro_f1(confusion_matrix(labels[scored], logits[scored].argmax(axis=1))))


def predict_logits(
    trained: TrainedFusion,
    frames: Frames | DeviceFrames,
    rows: Int[np.ndarray, " rows"] | None = None,
    *,
    device: str | None = None,
) -> tuple[Float[np.ndarray, "rows 8"], Float[np.ndarray, " rows"]]:
    """Logits of the given rows, without a provenance check; for reported scores, use ``protocols``.

    Returns:
        Logits (float32) and the weight of the visual vector; NaN for a frame without a vector that the model reads.
    """
    data = frames if isinstance(frames, DeviceFrames) else DeviceFrames(frames, device)
    return _predict(trained.model.to(data.device), data, np.arange(len(data.frames)) if rows is None else rows)


@torch.inference_mode()
def _predict(model: GatedFusion, data: DeviceFrames, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    logits, gate = np.full((len(rows), len(EXPRESSIONS)), np.nan, np.float32), np.full(len(rows), np.nan, np.float32)
    scored: Bool[np.ndarray, " rows"] = data.frames.scored(model.config.mode)[rows]
    scored_rows = np.flatnonzero(scored)
    for start in range(0, len(scored_rows), _PREDICT_BATCH_SIZE):
        index = scored_rows[start : start + _PREDICT_BATCH_SIZE]
        batch = data.batch(torch.from_numpy(rows[index]).to(data.device), model.config.mode)
        with torch.autocast(data.device.type, torch.bfloat16, enabled=data.device.type == "cuda"):
            batch_logits, batch_gate = model(*batch)
        logits[index], gate[index] = batch_logits.cpu().numpy(), batch_gate.float().cpu().numpy()
    return logits, gate
