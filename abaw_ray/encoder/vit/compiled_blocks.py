"""``torch.compile`` of a vision Transformer's blocks, each in place: names of parameters, saved files and hooks stay as they are.

All blocks share their code and two graphs: that of a block with stochastic depth, and that of the first one, which has none. A second number of
images makes a graph for any number; a single image has its own.
"""

import logging
import os
import shutil
import sysconfig
from pathlib import Path
from typing import Any

import torch

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.settings import AutoOnOff

_LOG = logging.getLogger(__name__)
_LARGEST_NUMBER_OF_GRAPHS = 12
"""Two kinds of blocks, in training and evaluation, for the first number of images, any number and one. Dynamo's own limit is 8; beyond it, blocks
run without being compiled."""
_COMPILERS = {"cuda": ("CC", ("cc", "gcc", "clang")), "cpu": ("CXX", ("c++", "g++", "clang++"))}
"""Environment variable and names of the compilers that the generated code needs: C for Triton's launchers on a GPU, C++ on a CPU."""


def compile_blocks(vit: Any, mode: AutoOnOff, device: str | torch.device) -> str:
    """Compile the blocks where the mode says so; the compiler runs when a block is first called. Returns why not, empty where nothing prevents it.

    Compiled blocks round differently: their results agree to the precision of the arithmetic.

    Args:
        vit: The model.
        mode: ``auto`` compiles on a GPU, and keeps what cannot be compiled as it is; ``on`` compiles on every device.
        device: Where the model will run.

    Raises:
        ConfigError: ``on``, and the compiler is missing.
    """
    kind = torch.device(device).type
    if mode == "off" or (mode == "auto" and kind != "cuda"):
        return ""
    if missing := missing_for(kind):
        if mode == "on":
            raise ConfigError(f"compute.compile=on: {missing}; install it on every worker, or use auto")
        reason = f"the encoder's blocks are not compiled: {missing}"
        _LOG.warning(reason)
        return reason
    torch._dynamo.config.suppress_errors = mode == "auto"
    import torch._inductor.config as inductor

    inductor.compile_threads = 1  # more are processes, whose memory Ray does not expect
    compile_in_place(vit)
    return ""


def compile_in_place(vit: Any, backend: Any = "inductor") -> None:
    """Compile every block with a backend of ``torch.compile``."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _LARGEST_NUMBER_OF_GRAPHS)
    for block in vit.blocks:
        block.compile(backend=backend)


def missing_for(kind: str) -> str:
    """What compiling for a kind of device (``cuda`` or ``cpu``) lacks on this machine, in words; empty where it has all."""
    variable, names = _COMPILERS[kind]
    names = (os.environ[variable],) if os.environ.get(variable) else names
    if not any(shutil.which(name) for name in names):
        return f"no {'C' if kind == 'cuda' else 'C++'} compiler was found ({', '.join(names)})"
    headers = Path(sysconfig.get_paths()["include"])
    return "" if (headers / "Python.h").is_file() else f"Python's headers are missing ({headers}/Python.h)"
