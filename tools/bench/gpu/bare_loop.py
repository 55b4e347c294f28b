"""The yardstick of a whole training step: a bare loop in PyTorch, compiled, with ZeRO's arithmetic: float32 master weights, bf16 passes.

The model is Stage I's, with its stochastic depth; the images are on the device. There is no sampler, no augmentation, no class balancing, no learning
rate by layer and no DeepSpeed: one parameter group, cross-entropy, and PyTorch's fused AdamW.
"""

import time
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from abaw_ray.core.progress import echo
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.task import MicroBatch
from abaw_ray.encoder.vit.compiled_blocks import compile_blocks, missing_for
from abaw_ray.training.config import OptimConfig
from tools.bench.gpu.work import Work, synchronize

_WARMUP_STEPS = 3


class MasterWeights:
    """Float32 copies of a model's parameters, which AdamW updates and the model gets rounded to its own type."""

    def __init__(self, model: nn.Module, config: OptimConfig) -> None:
        """Copy the parameters; gradients of the micro-batches of a step are summed in the model's type."""
        self.working: list[Tensor] = list(model.parameters())
        self.max_grad_norm = config.max_grad_norm
        self.masters = [parameter.detach().float().clone() for parameter in self.working]
        self.optimizer = torch.optim.AdamW(self.masters, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True)

    @torch.no_grad()
    def step(self) -> None:
        """Clip the gradient, update the masters, copy them to the model, reset the gradient."""
        for master, parameter in zip(self.masters, self.working, strict=True):
            master.grad, parameter.grad = None if parameter.grad is None else parameter.grad.float(), None
        nn.utils.clip_grad_norm_(self.masters, self.max_grad_norm)
        self.optimizer.step()
        torch._foreach_copy_(self.working, self.masters)  # pyright: ignore[reportPrivateImportUsage]


def measure_bare_loop(work: Work, step: list[MicroBatch]) -> dict:
    """Measure images per second over the micro-batches of one step, which are on the device; ``bare_compiled`` tells whether it was compiled."""
    model = ExpressionModel(work.encoder).to(work.device, torch.bfloat16 if work.bf16 else torch.float32).train()
    is_compiled = compile_where_possible(model, work)
    weights, moments = MasterWeights(model, work.encoder.optim), []
    for number in range(_WARMUP_STEPS + work.steps + 1):
        if number in (_WARMUP_STEPS, _WARMUP_STEPS + work.steps):
            synchronize()
            moments.append(time.perf_counter())
        for batch in step:
            loss = functional.cross_entropy(model(batch.pixels, batch.noise).logits, batch.labels)
            (loss / len(step)).backward()
        weights.step()
    (seconds,) = (later - earlier for earlier, later in pairwise(moments))
    return {"bare_images_per_second": work.steps * work.encoder.global_batch_size / seconds, "bare_compiled": is_compiled}


def compile_where_possible(model: ExpressionModel, work: Work) -> bool:
    """Compile the encoder's blocks in place and return True, or say what is missing and return False."""
    if missing := missing_for(work.device):
        echo(f"  not compiled: {missing}")
        return False
    compile_blocks(model.encoder.vit, "on", work.device)
    return True
