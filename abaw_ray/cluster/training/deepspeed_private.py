"""DeepSpeed's private interfaces that this package depends on, in one place.

``tests/cluster/test_private_apis.py`` fails when one of them changes; pin another DeepSpeed version only after it passes.
"""

import argparse
import contextlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn


def disable_shared_memory_collectives() -> None:
    """Keep DeepSpeed from compiling its shared-memory collectives for ranks of one host, which needs a compiler.

    Without them, ranks of one host use the process group, as ranks of different hosts do.
    """
    import deepspeed

    ops: Any = deepspeed.ops  # the module computes the attribute on first access, so type checkers do not know it
    ops.__compatible_ops__ = {"deepspeed_shm_comm": False}


def flat_ranges(parameters: Iterable[nn.Parameter]) -> list[tuple[int, int] | None]:
    """First element, and element after the last, of each parameter's part in its group's flat float32 tensor on this rank; None for one without.

    A parameter that crosses the border between two ranks has a part on both.
    """
    ranges: list[tuple[int, int] | None] = []
    for parameter in parameters:
        mapping: Any = getattr(parameter, "_hp_mapping", None)
        place = mapping and mapping.get_hp_fragment_address()
        ranges.append(None if place is None else (place.start, place.start + place.numel))
    return ranges


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
