"""Time of the same epoch for a population, for populations of one candidate, for each model by itself, and for a plain PyTorch loop per model."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.population.rows import TrainingFolds
from abaw_ray.fusion.population.stacked import StackedMembers
from abaw_ray.fusion.population.training import Population
from tools.bench.fusion.plain import PlainTraining

BASE = FusionConfig(rows_per_second=0)
"""All labelled frames; the sizes are the defaults."""


def candidates_of(number: int, base: FusionConfig = BASE) -> list[FusionConfig]:
    """Return candidates that differ in everything that may differ within a population."""
    part = np.linspace(0, 1, number)
    return [
        replace(
            base,
            dropout=0.1 + 0.4 * float(at),
            modality_dropout=0.5 * float(at),
            optim=replace(base.optim, lr=1e-4 * 10 ** float(at), weight_decay=0.1 * float(at)),
            loss=replace(base.loss, balancing_power=float(at), label_smoothing=0.2 * float(at)),
        )
        for at in part
    ]


def training_folds(frames: Frames, folds: dict[str, int]) -> TrainingFolds:
    """Return the folds as masks of subjects."""
    fold_of = np.array([folds[subject.name] for subject in frames.subjects])
    held_out = [fold_of == number for number in sorted(set(folds.values()))]
    return TrainingFolds(train=[~mask for mask in held_out], held_out=held_out)


def one_fold(folds: TrainingFolds, number: int) -> TrainingFolds:
    """Return one of the folds, with as many steps as beside the others."""
    return TrainingFolds(train=[folds.train[number]], numbers=[number], paced_by=folds.train)


def has_bf16() -> bool:
    """Whether this CPU has instructions for products in bfloat16."""
    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "").split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def seconds(epoch: Callable[[], Any], device: str) -> tuple[float, float]:
    """Return wall and CPU seconds of a call, with the work that it left to a GPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    epoch()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(ways: dict[str, Callable[[], Any]], rounds: int, device: str) -> dict[str, dict[str, float]]:
    """Return wall and CPU seconds of each way, the median over rounds in which each has its turn, and the smallest and largest wall time."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, epoch in ways.items():
            found[name].append(seconds(epoch, device))
    return {
        name: {"wall_s": median(wall), "cpu_s": median(cpu), "least_s": min(wall), "most_s": max(wall)}
        for name, (wall, cpu) in ((name, tuple(zip(*times, strict=True))) for name, times in found.items())
    }


def measure_training(frames: Frames, folds: TrainingFolds, number: int, rounds: int) -> dict:
    """Train ``number`` candidates on all folds for the same epoch in each of the ways, on the CPU.

    Returns:
        Ratios of CPU time on one thread: the way / the population in float32, and ``..._bf16``, the way in float32 / the population with products in
        bfloat16 (None where the CPU has no instructions for them); steps of an epoch, milliseconds per model and step, and all seconds.
    """
    candidates = candidates_of(number)
    ways = population_ways(frames, candidates, folds, "cpu")
    if has_bf16():
        ways["bf16"] = Population(frames, [replace(one, precision="bf16") for one in candidates], folds, device="cpu").train_epoch
    ways["stacked"] = Population(frames, candidates, folds, device="cpu", members=StackedMembers).train_epoch
    ways["plain"] = _each([PlainTraining(frames, one, folds, fold).train_epoch for one in candidates for fold in range(len(folds.train))])
    for epoch in ways.values():
        epoch()
    found = measure(ways, rounds, "cpu")
    whole, bf16 = found["population"]["cpu_s"], found["bf16"]["cpu_s"] if "bf16" in found else None
    steps = Population(frames, candidates[:1], folds, device="cpu").batches.steps(BASE.batch_size)
    models = number * len(folds.train)
    return {
        **{name: found[name]["cpu_s"] / whole for name in ("alone", "candidate", "plain", "stacked")},
        **{f"{name}_bf16": found[name]["cpu_s"] / bf16 if bf16 else None for name in ("alone", "plain", "population")},
        "models": models,
        "steps": steps,
        "ms_per_model_step": {name: 1000 * one["cpu_s"] / models / steps for name, one in found.items()},
        "seconds": found,
    }


def population_ways(frames: Frames, candidates: Sequence[FusionConfig], folds: TrainingFolds, device: str) -> dict[str, Callable[[], Any]]:
    """Return an epoch of each model by itself, of populations of one candidate, and of the population."""
    numbers = range(len(folds.train))
    return {
        "alone": _each([Population(frames, [one], one_fold(folds, fold), device=device).train_epoch for one in candidates for fold in numbers]),
        "candidate": _each([Population(frames, [one], folds, device=device).train_epoch for one in candidates]),
        "population": Population(frames, candidates, folds, device=device).train_epoch,
    }


def _each(epochs: Sequence[Callable[[], Any]]) -> Callable[[], Any]:
    return lambda: [epoch() for epoch in epochs]


def measure_gpu(frames: Frames, folds: TrainingFolds, number: int, rounds: int) -> dict:
    """Train ``number`` candidates together on a GPU, and one of them fold by fold; nothing where there is no GPU."""
    if not torch.cuda.is_available():
        return {}
    candidates = candidates_of(number)
    ways = population_ways(frames, candidates[:1], folds, "cuda")
    ways = {"alone": ways["alone"], "population": Population(frames, candidates, folds, device="cuda").train_epoch}
    for epoch in ways.values():
        epoch()
    found = measure(ways, rounds, "cuda")
    return {"population": number * found["alone"]["wall_s"] / found["population"]["wall_s"], "candidates": number, "seconds": found}
