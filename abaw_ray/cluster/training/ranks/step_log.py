"""Figures of a rank's steps: averaged over the ranks once in a while, summed over the epoch, and written as events, metrics and reports."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from abaw_ray.cluster.training.ranks.rank_metrics import RankMetrics
from abaw_ray.core.errors import StageError
from abaw_ray.core.units import gib
from abaw_ray.encoder.evaluation.metrics import scalars_of
from abaw_ray.training.config import OptimConfig
from abaw_ray.training.events import EventLog
from abaw_ray.training.optim import lr_multiplier


def check_finite(loss: float, step: int, optim: OptimConfig, stage: str) -> float:
    """The loss.

    Raises:
        StageError: it is not finite.
    """
    if not math.isfinite(loss):
        remedy = f"lower encoder.optim.lr={optim.lr:g} or raise encoder.optim.warmup_ratio={optim.warmup_ratio:g}"
        raise StageError(f"{stage}: the loss is not finite by step {step}; {remedy}")
    return loss


@dataclass(frozen=True, kw_only=True)
class StepLogConfig:
    """Settings of a ``StepLog``."""

    optim: OptimConfig
    """Gives the learning rate."""
    total_steps: int
    """Number of steps of the whole training."""
    global_batch_size: int
    """Images of a step, over all ranks."""
    log_every_n_steps: int
    """See ``ComputeConfig``."""
    min_report_interval_s: float
    """See ``RankJob``."""
    stage: str = "encoder"
    """Name of the stage, for messages."""


@dataclass
class _Totals:
    """Sums over some steps; the same on every rank."""

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    """Time of the steps."""
    data_wait_s: float = 0.0
    """Time for which a rank has waited for images, mean over the ranks."""
    grad_norm: float | None = None
    """That of the last step; None where it is not computed."""

    def add(self, losses: list[float], seconds: float, data_wait_s: float, grad_norm: float | None) -> None:
        """Add further steps."""
        self.losses += losses
        self.seconds += seconds
        self.data_wait_s += data_wait_s
        self.grad_norm = grad_norm


class StepLog:
    """Collects the figures on the device, so that no step waits for them."""

    def __init__(
        self,
        config: StepLogConfig,
        mean_over_ranks: Callable[[Tensor], Tensor],
        report: Callable[[dict], None],
        metrics: RankMetrics,
        events: EventLog | None,
    ) -> None:
        """Begin an empty log.

        Args:
            config: Settings.
            mean_over_ranks: Mean of a vector over the ranks.
            report: Reports the figures of some steps to the driver; all ranks call it together.
            metrics: The rank's metrics.
            events: Where the events go; None on all ranks but one.
        """
        self._config, self._mean, self._report, self._metrics, self._events = config, mean_over_ranks, report, metrics, events
        self._losses: list[Tensor] = []
        self._grad_norms: list[Tensor | float] = []
        self._times: list[float] = []
        self._epoch_losses: list[float] = []
        self._data_wait_s, self._since = 0.0, _Totals()
        self.resume()

    def resume(self) -> None:
        """The next step begins now: what the rank did since the last step, validation or a checkpoint, is no part of it."""
        self._moment = time.monotonic()

    def add_data_wait(self, seconds: float) -> None:
        """Add a time for which this rank has waited for images."""
        self._data_wait_s += seconds

    def add(self, loss: Tensor, grad_norm: Tensor | float | None) -> None:
        """Add one step.

        Args:
            loss: The rank's loss.
            grad_norm: Norm of the gradient over all ranks; None where it is not computed.
        """
        self._losses.append(loss)
        self._times.append(time.time())
        if grad_norm is not None:
            self._grad_norms.append(grad_norm)

    def after(self, step: int) -> None:
        """Write the figures every few steps, and report them if the last report is old enough. All ranks call this together, after each step.

        Args:
            step: Number of steps taken.

        Raises:
            StageError: a loss is not finite.
        """
        if not self._config.log_every_n_steps or step % self._config.log_every_n_steps:
            return
        self._flush(step)
        if self._since.seconds >= self._config.min_report_interval_s:  # a mean over the ranks: all of them report, or none
            figures, self._since = _figures(self._config, step, self._since), _Totals()
            self._report(figures)
            self.resume()

    def sum(self, step: int) -> float:
        """Sum of the losses since the last call, each averaged over the ranks. All ranks call this together.

        Args:
            step: Number of steps taken.

        Raises:
            StageError: the sum is not finite.
        """
        self._flush(step)
        total, self._epoch_losses = sum(self._epoch_losses), []
        return check_finite(total, step, self._config.optim, self._config.stage)

    def add_scores(self, metrics: Mapping[str, Any], step: int) -> None:
        """Write the validation scores after this number of steps as events."""
        if self._events:
            for name, value in scalars_of(metrics).items():
                self._events.add(name, value, step)

    def upload_events(self, step: int) -> None:
        """Upload the events that were written since the last upload, with a checkpoint after this number of steps."""
        if self._events:
            self._events.upload(step)

    def _flush(self, step: int) -> None:
        """Average the figures since the last call over the ranks, and write them as events and metrics.

        Raises:
            StageError: a loss is not finite.
        """
        if not self._losses:
            return
        local = torch.stack(self._losses).float()
        grad_norm = float(self._grad_norms[-1]) if self._grad_norms else None  # waits for the device, so that the time is that of complete steps
        now = time.monotonic()
        times = torch.tensor([now - self._moment, self._data_wait_s], device=local.device)
        *losses, seconds, data_wait_s = self._mean(torch.cat([local, times])).tolist()
        self._epoch_losses += losses
        self._since.add(losses, seconds, data_wait_s, grad_norm)
        figures = _figures(self._config, step, _Totals(losses, seconds, data_wait_s, grad_norm))
        self._metrics.add_data_wait(self._data_wait_s)
        self._metrics.set_figures(figures)
        if self._events:
            self._write_events(self._events, step, losses, figures)
        self._losses, self._grad_norms, self._times, self._moment, self._data_wait_s = [], [], [], now, 0.0
        check_finite(sum(losses), step, self._config.optim, self._config.stage)

    def _write_events(self, events: EventLog, step: int, losses: list[float], figures: dict) -> None:
        """Write losses, gradient norms and learning rates of the steps since the last call, and the rates of all of them together."""
        for name in ("images_per_second", "data_wait_s", "gpu_memory_gib"):
            if figures[name] is not None:
                events.add(f"train/{name}", figures[name], step)
        norms, first = [float(norm) for norm in self._grad_norms], step - len(losses) + 1
        for number, (loss, moment) in enumerate(zip(losses, self._times, strict=True), start=first):
            events.add("train/loss", loss, number, moment)
            events.add("train/learning_rate", _learning_rate(self._config, number), number, moment)
        for number, (norm, moment) in enumerate(zip(norms, self._times, strict=False), start=first):
            events.add("train/grad_norm", norm, number, moment)


def _learning_rate(config: StepLogConfig, step: int) -> float:
    """Learning rate of the step with this number, counted from 1."""
    return config.optim.lr * lr_multiplier(step - 1, config.total_steps, config.optim)


def _figures(config: StepLogConfig, step: int, totals: _Totals) -> dict:
    """The figures of the steps in these totals; ``step`` is the number of the last one.

    ``seconds_left`` is the time of the remaining steps alone, ``gpu_memory_gib`` the most that this process has allocated; None without a GPU.
    """
    steps, seconds = len(totals.losses), max(totals.seconds, 1e-6)
    return {
        "step": step,
        "total_steps": config.total_steps,
        "loss": sum(totals.losses) / steps,
        "learning_rate": _learning_rate(config, step),
        "grad_norm": totals.grad_norm,
        "images_per_second": steps * config.global_batch_size / seconds,
        "data_wait_s": totals.data_wait_s / steps,
        "seconds_left": (config.total_steps - step) * seconds / steps,
        "gpu_memory_gib": torch.cuda.max_memory_allocated() / gib(1) if torch.cuda.is_initialized() else None,
    }
