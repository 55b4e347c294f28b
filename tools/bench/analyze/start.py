"""Time of ``abaw-ray analyze`` of a clip of 2.4 s as a whole process, against the imports of its three largest libraries as a process."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

IMPORTS = "import torch, timm, transformers"
"""A program that only imports what every analysis needs."""


def analyze_command(video: Path, model: Path, weights: Path, output: Path, *options: str) -> list[str]:
    """The command line of an analysis with YuNet."""
    command = [sys.executable, "-m", "abaw_ray", "analyze", str(video), "--model", str(model), "-o", str(output)]
    return [*command, "--detector", "yunet", "--weights", str(weights), *options]


def start_up(video: Path, model: Path, weights: Path, rounds: int) -> dict[str, float]:
    """Run both in turn; the first round is discarded, because it reads the libraries from the disk.

    Returns:
        ``analyze_s`` and ``imports_s`` (medians of wall seconds), ``analyze_min_s`` and ``imports_min_s``, ``over_imports_s`` (difference of the
        medians), ``over_imports_min_s`` (of the minima), ``analyze_cpu_s`` and ``imports_cpu_s`` (medians, all processes).
    """
    wall: dict[str, list[float]] = {"analyze": [], "imports": []}
    cpu: dict[str, list[float]] = {"analyze": [], "imports": []}
    for number in range(1 + rounds):
        with tempfile.TemporaryDirectory(prefix="abaw-bench-") as output:
            commands = {"analyze": analyze_command(video, model, weights, Path(output) / "out"), "imports": [sys.executable, "-c", IMPORTS]}
            for name, command in commands.items():
                wall_s, cpu_s = process_seconds(command)
                if number:
                    wall[name].append(wall_s)
                    cpu[name].append(cpu_s)
    return start_figures(wall, cpu)


def start_figures(wall: Mapping[str, Sequence[float]], cpu: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The figures of ``start_up`` from the seconds of its rounds by name."""
    figures = {}
    for name in ("analyze", "imports"):
        figures |= {f"{name}_s": median(wall[name]), f"{name}_min_s": min(wall[name]), f"{name}_cpu_s": median(cpu[name])}
    over, over_min = (figures[f"analyze_{kind}"] - figures[f"imports_{kind}"] for kind in ("s", "min_s"))
    return figures | {"over_imports_s": over, "over_imports_min_s": over_min}


def process_seconds(command: Sequence[str]) -> tuple[float, float]:
    """Wall seconds, and CPU seconds of a command and its children.

    Raises:
        RuntimeError: it fails.
    """
    before, start = os.times(), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall, after = time.monotonic() - start, os.times()
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr[-500:]}")
    return wall, after.children_user + after.children_system - before.children_user - before.children_system
