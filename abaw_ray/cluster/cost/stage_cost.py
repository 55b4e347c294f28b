"""The workloads of a stage, its workers, the machines and their prices -> time and cost of the stage, as ranges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from abaw_ray.cluster.cost.prices import Prices
from abaw_ray.cluster.cost.ranges import Range
from abaw_ray.cluster.cost.rates import gpu_of, worker_time
from abaw_ray.cluster.engine.workload import Workload
from abaw_ray.cluster.machines.capacity import Machine
from abaw_ray.cluster.machines.resources import Resources

_START_S = Range(5.0, 30.0)
"""Seconds in which the workers of a stage start and import their libraries; the preset smoke, with seconds of work, takes two minutes. Ours."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Workers of one size, and what they compute."""

    workload: Workload
    worker: Resources
    workers: int
    """Number of them that run at the same time."""


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """What the unfinished work of a stage takes."""

    seconds: Range
    """Wall time, with the start of the workers and without that of machines."""
    machines: Mapping[str, int]
    """Type of machine (empty if unknown) -> number of machines that its workers need."""
    units: Mapping[str, Range]
    """``vCPU-hours``, or hours of a type of GPU: ``A10G-hours``."""
    workers: int
    """Of the slowest pool."""
    texts: tuple[str, ...]
    sources: tuple[str, ...] = field(default=())

    def usd(self, prices: Prices) -> Range | None:
        """Cost of the machines while the stage runs; None where one of them has no price."""
        per_hour = prices.usd(dict(self.machines))
        return None if per_hour is None else self.seconds.times(per_hour / 3600)


def stage_cost(pools: Sequence[Pool], available: Sequence[Machine]) -> StageCost | None:
    """Time and machines of a stage whose pools run at the same time; None where a GPU has no rate or a worker has no room.

    Args:
        pools: Workers with what they compute.
        available: Machines that run or may start.
    """
    seconds, machines, units, sources, slowest = Range(), dict[str, int](), dict[str, Range](), list[str](), pools[0]
    for pool in pools:
        workers = min(pool.workers, pool.workload.parallel or pool.workers)
        placed = _placed(available, pool.worker, workers)
        gpu = next((gpu_of(machine.resources, machine.type) for machine, _ in placed), "")
        found = worker_time(pool.workload, pool.worker, gpu)
        if not placed or found is None:
            return None
        wall = found.seconds.times(1 / workers)
        slowest = pool if wall.high > seconds.high else slowest
        seconds = seconds.at_least(wall)
        for machine, count in placed:
            machines[machine.type] = max(machines.get(machine.type, 0), count)
        unit, each = (f"{gpu}-hours", pool.worker.gpus) if pool.worker.gpus else ("vCPU-hours", 1.0)
        units[unit] = units.get(unit, Range()) + found.seconds.times(each / 3600)
        sources += [*pool.workload.sources, found.source]
    workers = min(slowest.workers, slowest.workload.parallel or slowest.workers)
    texts = tuple(dict.fromkeys(pool.workload.text for pool in pools))
    return StageCost(seconds=seconds + _START_S, machines=machines, units=units, workers=workers, texts=texts, sources=tuple(sources))


def _placed(available: Sequence[Machine], worker: Resources, workers: int) -> list[tuple[Machine, int]]:
    """Machines on which these workers run, with their number: those without a GPU first, as in ``capacity.max_workers``."""
    cpu_only = [machine for machine in available if not machine.resources.get("GPU")]
    for chosen in (available,) if worker.gpus else (cpu_only, available):
        placed, left = list[tuple[Machine, int]](), workers
        for machine in chosen:
            each = worker.per_machine(machine.resources)
            count = min(machine.count, ceil(left / each)) if each and left > 0 else 0
            if count:
                placed.append((machine, count))
                left -= count * each
        if placed:
            return placed
    return []
