"""What thinning and halving save, and the memory of a trial: steps counted at full size, and a whole trial in a process of its own."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from abaw_ray.core.errors import StageError
from abaw_ray.fusion.config import FusionConfig, SweepConfig
from abaw_ray.fusion.evaluation.cross_validation import NO_HALVING
from abaw_ray.fusion.evaluation.protocols import official_folds
from abaw_ray.fusion.population.config import HalvingConfig
from abaw_ray.fusion.population.rows import FoldBatches
from abaw_ray.fusion.selected import select
from tools.bench.fusion.data import SubjectCount, draw_folds, draw_frames, labelled_bytes, read_counts
from tools.bench.fusion.training import candidates_of, training_folds

BYTES_PER_PARAMETER, SPARE_BYTES = 20, 10**9
"""Of the bound on a trial's memory: weights, their average, two moments and the gradient in single precision; libraries and all else."""


def count_thinning(counts: list[SubjectCount]) -> dict:
    """Return the steps of an epoch with all labelled frames and with the default rows per second, at the full size of the data."""
    frames = draw_frames(counts, widths=(0, 0))
    folds, used = training_folds(frames, draw_folds(frames)), np.flatnonzero(frames.labels >= 0)
    default = FusionConfig()
    every, thinned = (FoldBatches(frames, used, folds, replace(default, rows_per_second=rate)).steps(default.batch_size) for rate in (0.0, 5.0))
    return {"steps": every, "steps_thinned": thinned, "ratio": every / thinned}


def measure_trial(stats: Path, scale: float, number: int, epochs: int, halving: bool, *, widths: tuple[int, int]) -> dict:
    """Run ``main`` of this module in a new process; returns its figures.

    Raises:
        StageError: the process failed.
    """
    arguments = [str(stats), str(scale), str(number), str(epochs), str(int(halving)), *map(str, widths)]
    done = subprocess.run([sys.executable, "-m", "tools.bench.fusion.savings", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise StageError(f"tools.bench.fusion.savings {' '.join(arguments)}: exit code {done.returncode}: {done.stderr[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_savings(stats: Path, counts: list[SubjectCount], scale: float, number: int, epochs: int, *, widths: tuple[int, int]) -> dict:
    """Return what halving saves of the training of a trial, and the peak memory of the trial, selection included, relative to its bound."""
    whole, halved = (measure_trial(stats, scale, number, epochs, halving, widths=widths) for halving in (False, True))
    return {
        "thinning": count_thinning(counts)["ratio"],
        "halving": whole["cpu_s"] / halved["cpu_s"],
        "memory": halved["peak_bytes"] / halved["bound_bytes"],
        "memory_whole": whole["peak_bytes"] / whole["bound_bytes"],
        "trial_s": halved["cpu_s"],
        "whole": whole,
        "halved": halved,
    }


def peak_bytes() -> int:
    """Return the peak memory of this process since it began its program; ``ru_maxrss`` would include that of the process that started it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main(stats: str, scale: str, number: str, epochs: str, halving: str, *widths: str) -> None:
    """Train the candidates with the default settings as a trial does, select for those that reach the end, and print seconds and memory as JSON."""
    torch.set_num_threads(1)
    base = peak_bytes()
    frames = draw_frames([one.scaled(float(scale)) for one in read_counts(Path(stats))], (int(widths[0]), int(widths[1])))
    drawn = peak_bytes()
    candidates = candidates_of(int(number), FusionConfig())
    trained = official_folds(frames, draw_folds(frames), candidates, "cpu")
    parameters = sum(value.numel() for value in trained.population.weights(0).values()) * len(candidates)
    wall, cpu = time.perf_counter(), time.process_time()
    trained.train(int(epochs), HalvingConfig() if int(halving) else NO_HALVING, all_epochs=False)
    figures = {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "candidate_epochs": sum(len(curve.loss) for curve in trained.curves),
        "trained_bytes": peak_bytes(),
    }
    cpu, finalists = time.process_time(), trained.finalists()
    for candidate in finalists:
        select(trained, candidate, SweepConfig(), default=0)
    figures |= {
        "selection_s": (time.process_time() - cpu) / len(finalists),
        "finalists": len(finalists),
        "parameters": parameters,
        "libraries_bytes": base,
        "drawn_bytes": drawn,
        "peak_bytes": peak_bytes(),
        "bound_bytes": labelled_bytes(frames) + BYTES_PER_PARAMETER * parameters + SPARE_BYTES,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
