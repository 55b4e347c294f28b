"""DeepSpeed's private interfaces that this package depends on, in one place.

``tests/cluster/test_private_apis.py`` fails when one of them changes; pin another DeepSpeed version only after it passes.
"""

import argparse
import contextlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn


def disable_shared_memory_collectives() -> None:
    """Keep DeepSpeed from compiling its shared-memory collectives for ranks of one host, which needs a compiler.

    Without them, ranks of one host use the process group, as ranks of different hosts do.
    """
    import deepspeed

    ops: Any = deepspeed.ops  # the module computes the attribute on first access, so type checkers do not know it
    ops.__compatible_ops__ = {"deepspeed_shm_comm": False}


class FlatRange(NamedTuple):
    """Elements of a group's flat float32 tensor on this rank that belong to one parameter."""

    start: int
    stop: int
    offset: int
    """Their first element within the flattened parameter."""


def flat_ranges(parameters: Iterable[nn.Parameter]) -> list[FlatRange | None]:
    """The range of each parameter; None for one without elements on this rank. One that crosses the border of two ranks has a range on both."""
    ranges: list[FlatRange | None] = []
    for parameter in parameters:
        mapping: Any = getattr(parameter, "_hp_mapping", None)
        place = mapping and mapping.get_hp_fragment_address()
        ranges.append(place and FlatRange(place.start, place.start + place.numel, mapping.lp_fragment_address.start))
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
