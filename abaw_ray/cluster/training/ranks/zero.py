"""DeepSpeed's ZeRO as the ``Engine`` of ``training.loop``: starts without a compiler, saves one shard per rank, loads on any number of ranks.

Only stages 0, 1 and 2 are supported: every rank holds the whole model, so validation and saving need no communication.
"""

import logging
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from abaw_ray.cluster.training.ranks.average import Part
from abaw_ray.cluster.training.ranks.deepspeed_private import FlatRange, convert_to_universal, disable_shared_memory_collectives, flat_ranges
from abaw_ray.training.adamw import Slice, SlicedAdamW
from abaw_ray.training.config import OptimConfig

_BUCKET_SIZE = 50_000_000
"""Elements of a gradient bucket."""
_TAG = "state"


@dataclass(frozen=True, kw_only=True)
class ZeroConfig:
    """Settings of the DeepSpeed engine."""

    stage: int
    """ZeRO stage: 0, 1 or 2."""
    global_batch_size: int
    """Samples of a step, over all ranks and micro-batches."""
    gradient_accumulation_steps: int
    """Micro-batches of a rank in a step."""
    world_size: int
    """Number of ranks."""
    bf16: bool = False
    """Model in bf16 with float32 master weights; otherwise everything in float32."""
    max_grad_norm: float = 0.0
    """Gradient clipping; 0 disables it."""
    gpu: bool = False
    """Overlap communication with the backward pass, and use contiguous gradient buffers; on CPUs both only add cost."""

    def to_deepspeed_config(self, *, universal: bool) -> dict[str, Any]:
        """DeepSpeed's configuration; ``universal`` if a universal checkpoint will be loaded."""
        return {
            "train_batch_size": self.global_batch_size,
            "train_micro_batch_size_per_gpu": self.global_batch_size // self.world_size // self.gradient_accumulation_steps,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            "gradient_clipping": self.max_grad_norm,
            # The overflow check of every gradient, and the throughput timer, which synchronizes the GPU twice per micro-batch, take up to a sixth
            # of a step of ViT-L/14 on an H200. An overflow in bf16 shows in the epoch's loss.
            "bf16": {"enabled": self.bf16, "check_grad_overflow": False},
            # Sums of many bf16 gradients in bf16 would lose small ones; ZeRO 0 supports no other type than the model's.
            "data_types": {"grad_accum_dtype": "fp32" if self.bf16 and self.stage and self.gradient_accumulation_steps > 1 else None},
            "timers": {"throughput": {"enabled": False}},
            "zero_optimization": {
                "stage": self.stage,
                "overlap_comm": self.gpu,
                "contiguous_gradients": self.gpu,
                "reduce_bucket_size": _BUCKET_SIZE,
                "allgather_bucket_size": _BUCKET_SIZE,
            },
            "zero_allow_untested_optimizer": True,
            "steps_per_print": 1_000_000_000,
            "checkpoint": {"load_universal": universal},
        }


def prepare_deepspeed(*, gpu: bool) -> None:
    """Set the environment variables that DeepSpeed reads on import, and import it; call this before any other import of DeepSpeed."""
    os.environ.setdefault("LOCAL_SIZE", os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    disable_shared_memory_collectives()
    deepspeed.utils.logger.setLevel(logging.WARNING)


class ZeroEngine:
    """A model and its AdamW under ZeRO, on an existing process group."""

    def __init__(self, model: nn.Module, param_groups: list[dict], optim: OptimConfig, config: ZeroConfig, *, universal: bool = False) -> None:
        """Partition the optimizer over the ranks; all ranks call this together, after ``prepare_deepspeed``.

        Args:
            model: The model to train; it is moved to the rank's device and, with bf16, converted.
            param_groups: Its parameter groups.
            optim: Settings of AdamW.
            config: Settings of the engine.
            universal: Whether ``load`` will load a universal checkpoint.
        """
        import deepspeed

        self.module, self._accumulation_steps, self._accumulated = model, config.gradient_accumulation_steps, 0
        settings, optimizer = config.to_deepspeed_config(universal=universal), SlicedAdamW(param_groups, optim)
        parameters = [list(group["params"]) for group in optimizer.param_groups]
        # Without ZeRO in bf16, DeepSpeed takes a step with zero gradients here to allocate the state; it would decay the weights and be counted.
        with optimizer.without_steps():
            initialized: Any = deepspeed.initialize(model=model, optimizer=optimizer, config=settings, dist_init_required=False)
        self._engine: Any = initialized[0]
        self._parts = _set_learning_rates_of_parts(optimizer, parameters, {id(parameter): name for name, parameter in model.named_parameters()})
        self.sharded = config.stage > 0
        """Whether each rank has the optimizer's state of a part of the parameters."""

    def master_weights(self) -> list[Part]:
        """The float32 master weights of this rank: views of what the optimizer updates."""
        return self._parts

    @property
    def param_groups(self) -> list[dict]:
        """The optimizer's parameter groups; the next step uses their ``lr``."""
        return self._engine.optimizer.param_groups

    def __call__(self, *inputs: Any) -> Any:
        """The model's output in training mode."""
        return self._engine(*inputs)

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradient of a micro-batch; gradients are reduced over the ranks after the last one."""
        self._engine.backward(loss)
        self._accumulated += 1
        if self._accumulated < self._accumulation_steps:
            self._engine.step()  # DeepSpeed counts micro-batches by this call and changes nothing before the last one

    def step(self) -> None:
        """Update the parameters after the last micro-batch."""
        self._accumulated = 0
        self._engine.step()

    @property
    def grad_norm(self) -> Tensor | float | None:
        """Norm of the gradient of the last step over all ranks, before clipping; a tensor is still on its device.

        None before the first step, and with ZeRO 0 in float32, for which DeepSpeed does not keep it.
        """
        return self._engine.get_global_grad_norm()

    def save(self, folder: Path, state: dict) -> None:
        """Write this rank's shard into an empty folder of its own; rank 0 adds the model and ``state``. All ranks call this together."""
        self._engine.save_checkpoint(str(folder), tag=_TAG, client_state=state, save_latest=False)

    def load(self, folder: Path) -> dict:
        """Load a checkpoint from a folder with the files of all ranks; returns its ``state``."""
        path, state = self._engine.load_checkpoint(str(folder), tag=_TAG)
        if path is None:
            raise FileNotFoundError(f"{folder} holds no DeepSpeed checkpoint")
        return state


def _set_learning_rates_of_parts(optimizer: SlicedAdamW, parameters: list[list[nn.Parameter]], names: dict[int, str]) -> list[Part]:
    """Give the tensors by which DeepSpeed replaced the parameters their learning rates: one per parameter, or one flat tensor per group.

    Args:
        optimizer: The optimizer after ``deepspeed.initialize``.
        parameters: The model's parameters in its groups, before.
        names: Name of a parameter by ``id``.

    Returns:
        The parts of parameters that this rank updates.
    """
    parts = []
    for group, originals in zip(optimizer.param_groups, parameters, strict=True):
        tensors, slices = group["params"], defaultdict(list)
        for tensor, place, original, scale in zip(*_places(tensors, originals), originals, group["lr_scales"], strict=True):
            if place:
                slices[tensor].append(Slice(place.start, place.stop, scale))
                parts.append(Part(names[id(original)], place.offset, tensor.detach().view(-1)[place.start : place.stop]))
        for tensor in tensors:
            optimizer.set_slices(tensor, slices[tensor])
    return parts


def _places(tensors: list[Tensor], originals: list[nn.Parameter]) -> tuple[list[Tensor], list[FlatRange | None]]:
    """Tensor, and range in it, of each parameter of a group."""
    if [tensor.shape for tensor in tensors] == [original.shape for original in originals]:
        return tensors, [FlatRange(0, tensor.numel(), 0) for tensor in tensors]
    return tensors * len(originals), flat_ranges(originals)


def to_universal(folder: Path, out: Path) -> None:
    """Convert a checkpoint of any number of ranks into one that any other number can load."""
    convert_to_universal(folder / _TAG, out / _TAG)
