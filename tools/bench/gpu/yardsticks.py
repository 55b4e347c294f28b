"""Yardsticks of a training step: the same model under PyTorch's DistributedDataParallel, and the number of operators of a step.

Counts do not depend on the load of the machine. On a GPU every ``aten::_local_scalar_dense`` makes the host wait for the device.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile

from abaw_ray.encoder.task import EncoderTask, ExpressionModel, MicroBatch
from abaw_ray.training.adamw import SlicedAdamW
from abaw_ray.training.loop import Engine, PlainEngine, run_steps
from tools.bench.gpu.work import Work

COUNTED = {
    "synchronizations": ("aten::_local_scalar_dense",),
    "copies": ("aten::copy_", "aten::_to_copy"),
}
"""Kind -> names of PyTorch's operators; ``operators`` are all of them, also those that others call."""
_WARMUP_STEPS = 2
_COUNTED_STEPS = 2


class DdpEngine(PlainEngine):
    """Plain AdamW on float32 weights under DistributedDataParallel, with bf16 autocast where asked for; gradients are reduced once per step."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, *, bf16: bool, max_grad_norm: float, accumulation: int) -> None:
        """Wrap the model; the process group exists, and ``accumulation`` is the number of micro-batches of a step."""
        super().__init__(model, optimizer, max_grad_norm=max_grad_norm, gradient_accumulation_steps=accumulation)
        self._ddp, self._bf16, self._micro_batch = DistributedDataParallel(model), bf16, 0

    def __call__(self, *inputs: Any) -> Any:
        """The model's output; the backward pass of the last micro-batch of a step reduces the gradients."""
        self._micro_batch = self._micro_batch % self.gradient_accumulation_steps + 1
        self._ddp.require_backward_grad_sync = self._micro_batch == self.gradient_accumulation_steps
        with torch.autocast("cuda" if self._bf16 else "cpu", torch.bfloat16, enabled=self._bf16):
            return self._ddp(*inputs)


def make_ddp_engine(work: Work, accumulation: int) -> DdpEngine:
    """Return an engine of the benchmark's model; ``accumulation`` is the number of micro-batches of a step."""
    config = work.encoder
    model = ExpressionModel(config).to(work.device).train()
    optimizer = SlicedAdamW(model.parameter_groups(config), config.optim)
    norm = config.optim.max_grad_norm
    return DdpEngine(model, optimizer, bf16=work.bf16, max_grad_norm=norm, accumulation=accumulation)


def count_operators(task: EncoderTask, engine: Engine, micro_batches: list[MicroBatch]) -> dict[str, float]:
    """Return the operators per step, by kind, of steps after the warm-up."""
    steps = _steps(task, engine, lambda step: micro_batches)
    for _ in range(_WARMUP_STEPS):
        next(steps)
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
        for _ in range(_COUNTED_STEPS):
            next(steps)
    names = Counter({event.key: event.count for event in profiler.key_averages() if event.key.startswith("aten::")})
    counts = {kind: sum(names[name] for name in operators) for kind, operators in COUNTED.items()}
    return {kind: count / _COUNTED_STEPS for kind, count in (counts | {"operators": names.total()}).items()}


def _steps(task: EncoderTask, engine: Engine, micro_batches: Callable[[int], list[MicroBatch]]) -> Any:
    def loss_of(micro_batch: MicroBatch) -> Tensor:
        return task.loss_of(engine, micro_batch)

    return run_steps(range(_WARMUP_STEPS + _COUNTED_STEPS), micro_batches, loss_of, engine, lr_multiplier=lambda step: 1e-3, seed=task.seed)
