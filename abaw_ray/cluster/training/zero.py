"""DeepSpeed's ZeRO behind the ``RaySession`` of ``training.loop``: started without a compiler, saved a shard a rank, loaded by any number of ranks.

Only the stages 0, 1 and 2: every rank holds the whole model, so scoring and saving need no other rank.
"""

import argparse
import contextlib
import io
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from abaw_ray.training.optim import OptimConfig, make_adamw

_BUCKET = 50_000_000
"""Elements of a gradient bucket."""
_TAG = "state"


@dataclass(frozen=True, kw_only=True)
class ZeroConfig:
    """What the engine is told."""

    stage: int
    """0, 1 or 2."""
    batch: int
    """Samples of a step, all ranks together."""
    pieces: int
    """Backward passes of a rank in a step."""
    ranks: int
    """Processes that train together."""
    bf16: bool = False
    """Model in bf16, master weights in float32; else all in float32."""
    clip: float = 0.0
    """Largest norm of the gradient; 0 for none."""
    gpu: bool = False
    """Exchange gradients while the backward pass goes on, from one contiguous buffer; on CPUs both only cost."""

    def words(self, *, universal: bool) -> dict[str, Any]:
        """The settings in DeepSpeed's words; ``universal`` when a converted checkpoint will be loaded."""
        return {
            "train_batch_size": self.batch,
            "train_micro_batch_size_per_gpu": self.batch // self.ranks // self.pieces,
            "gradient_accumulation_steps": self.pieces,
            "gradient_clipping": self.clip,
            # A look at every gradient for infinities, and a clock that waits for the GPU twice a piece, cost up to a sixth of a step of ViT-L/14
            # on an H200; what bf16 makes infinite shows in the epoch's loss.
            "bf16": {"enabled": self.bf16, "check_grad_overflow": False},
            "timers": {"throughput": {"enabled": False}},
            "zero_optimization": {
                "stage": self.stage,
                "overlap_comm": self.gpu,
                "contiguous_gradients": self.gpu,
                "reduce_bucket_size": _BUCKET,
                "allgather_bucket_size": _BUCKET,
            },
            "zero_allow_untested_optimizer": True,
            "steps_per_print": 1_000_000_000,
            "checkpoint": {"load_universal": universal},
        }


def prepare_deepspeed(*, gpu: bool) -> None:
    """Set what DeepSpeed reads while it is imported, and import it; call it before anything else does.

    Its shortcut for ranks of one host wants a compiler; without the shortcut it uses the process group, as between hosts.
    """
    os.environ.setdefault("LOCAL_SIZE", os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    deepspeed.ops.__compatible_ops__ = {"deepspeed_shm_comm": False}
    deepspeed.utils.logger.setLevel(logging.WARNING)


class ZeroEngine:
    """A model and its AdamW under ZeRO, on a process group that is there already."""

    def __init__(self, model: nn.Module, groups: list[dict], optim: OptimConfig, config: ZeroConfig, *, universal: bool = False) -> None:
        """Share the optimiser out over the ranks; all ranks call this together, after ``prepare_deepspeed``.

        Args:
            model: What is trained; moved to the rank's device and, with bf16, turned to it.
            groups: Its parameter groups.
            optim: AdamW's settings.
            config: The engine's settings.
            universal: Whether ``load`` will be given a converted checkpoint.
        """
        import deepspeed

        self.module, self._pieces, self._done = model, config.pieces, 0
        words = config.words(universal=universal)
        self._engine, *_ = deepspeed.initialize(model=model, optimizer=make_adamw(groups, optim), config=words, dist_init_required=False)

    @property
    def groups(self) -> list[dict]:
        """The optimiser's groups; the next step reads their ``lr``."""
        return self._engine.optimizer.param_groups

    def __call__(self, batch: Any) -> Any:
        """The model's output in training."""
        return self._engine(batch)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of one piece; the ranks' gradients meet after the last."""
        self._engine.backward(loss)
        self._done += 1
        if self._done < self._pieces:
            self._engine.step()  # DeepSpeed counts pieces by this call and changes nothing before the last

    def step(self) -> None:
        """Take the step of the pieces so far."""
        self._done = 0
        self._engine.step()

    def save(self, folder: Path, state: dict) -> None:
        """Write this rank's shard into a fresh folder of its own; rank 0 adds the model and ``state``. All ranks call it together."""
        self._engine.save_checkpoint(str(folder), tag=_TAG, client_state=state, save_latest=False)

    def load(self, folder: Path) -> dict:
        """Take up a checkpoint whose ranks' files lie in one folder; returns its ``state``."""
        path, state = self._engine.load_checkpoint(str(folder), tag=_TAG)
        if path is None:
            raise FileNotFoundError(f"{folder} holds no DeepSpeed checkpoint")
        return state


def to_universal(folder: Path, out: Path) -> None:
    """Convert a checkpoint of any number of ranks into one that any other number can load; about its own size again."""
    from deepspeed.checkpoint import ds_to_universal

    arguments = argparse.Namespace(
        input_folder=str(folder / _TAG),
        output_folder=str(out / _TAG),
        num_extract_workers=1,
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,  # checkpoints of the stages 1 and 2 lack what only Megatron writes
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ds_to_universal.main(arguments)
