"""DeepSpeed's private interfaces that this package depends on, in one place.

``tests/cluster/test_private_apis.py`` fails when one of them changes; pin another DeepSpeed version only after it passes.
"""

import argparse
import contextlib
import io
from pathlib import Path
from typing import Any


def disable_shared_memory_collectives() -> None:
    """Keep DeepSpeed from compiling its shared-memory collectives for ranks of one host, which needs a compiler.

    Without them, ranks of one host use the process group, as ranks of different hosts do.
    """
    import deepspeed

    ops: Any = deepspeed.ops  # the module computes the attribute on first access, so type checkers do not know it
    ops.__compatible_ops__ = {"deepspeed_shm_comm": False}


def convert_to_universal(source: Path, target: Path) -> None:
    """Convert the checkpoint in ``source`` into a universal checkpoint in ``target``, which any number of ranks can load.

    The universal checkpoint is about as large as the original.
    """
    from deepspeed.checkpoint import ds_to_universal

    arguments = argparse.Namespace(
        input_folder=str(source),
        output_folder=str(target),
        num_extract_workers=1,
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,  # checkpoints of ZeRO 1 and 2 lack state that only Megatron writes
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ds_to_universal.main(arguments)
