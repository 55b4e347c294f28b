"""Lines of the plan about time and cost: one for each stage, their sum, and what the figures are based on."""

from collections.abc import Mapping, Sequence

from abaw_ray.cluster.cost.prices import Prices
from abaw_ray.cluster.cost.ranges import Range
from abaw_ray.cluster.cost.stage_cost import Pool, StageCost, stage_cost
from abaw_ray.cluster.engine.workload import Workload
from abaw_ray.cluster.machines.capacity import Machine
from abaw_ray.cluster.machines.resources import Resources

_STARTED_S = Range(420.0, 780.0)
"""Seconds that a machine of a cluster is paid for before and after its work: it sets itself up in four to eight minutes and ends after five idle ones
(three with a prepared image). Ours."""


class PlanCost:
    """Collects the costs of the stages of a plan."""

    def __init__(self, available: Sequence[Machine], prices: Prices) -> None:
        """Machines that run or may start, and their prices."""
        self.available, self.prices = available, prices
        self.costs: dict[str, StageCost] = {}
        self.unknown: list[str] = []

    def add(self, name: str, workloads: Sequence[Workload | None], workers: Sequence[tuple[Resources, int]]) -> None:
        """Add a stage with unfinished work.

        Args:
            name: The stage.
            workloads: What each of its pools computes; empty or None where nothing is measured.
            workers: Size and number of the workers of each pool.
        """
        pools = [
            Pool(workload=workload, worker=worker, workers=count)
            for workload, (worker, count) in zip(workloads, workers, strict=False)
            if workload is not None and count
        ]
        cost = stage_cost(pools, self.available) if pools and len(pools) == len(workers) else None
        if cost is None:
            self.unknown.append(name)
        else:
            self.costs[name] = cost

    def lines(self) -> list[str]:
        """The lines; none where no stage has an estimate."""
        lines = [f"{name}: {self._text(cost)}" for name, cost in self.costs.items()]
        if len(self.costs) > 1:
            lines.append(f"all of these, one after the other: {self._sum()}")
        elif self.costs and self.prices.usd_per_hour:
            lines.append(f"in all: {self._sum()}")
        if self.costs:
            sources = dict.fromkeys(source for cost in self.costs.values() for source in cost.sources)
            lines.append(f"these are estimates, from rates and assumptions; {'; '.join(sources)}")
        if self.costs and self.unknown:
            lines.append(f"not estimated: {', '.join(self.unknown)}")
        return [*lines, *([f"WARNING {self.prices.remark}"] if self.prices.remark else [])]

    def _text(self, cost: StageCost) -> str:
        machines = ", ".join(f"{count:,} {kind}" for kind, count in cost.machines.items() if kind)
        where = f"{cost.workers:,} worker{'' if cost.workers == 1 else 's'}" + (f" on {machines}" if machines else "")
        units = ", ".join(f"{hours.number_text} {unit}" for unit, hours in cost.units.items())
        usd = cost.usd(self.prices)
        return f"{cost.seconds.duration} with {where}, {units}{f', {usd.number_text} USD' if usd else ''}; {', '.join(cost.texts)}"

    def _sum(self) -> str:
        seconds = sum((cost.seconds for cost in self.costs.values()), Range())
        parts = [cost.usd(self.prices) for cost in self.costs.values()]
        known = [usd for usd in parts if usd is not None]
        if len(known) < len(parts) or not known:
            return seconds.duration
        started = self.prices.usd(self._most_machines())
        paid = sum(known, Range()) + _STARTED_S.times((started or 0.0) / 3600) + (seconds + _STARTED_S).times(self.prices.head / 3600)
        return f"{seconds.duration}, {paid.number_text} USD with the head and the start and idle time of each machine, prices of {self.prices.date}"

    def _most_machines(self) -> Mapping[str, int]:
        most: dict[str, int] = {}
        for cost in self.costs.values():
            for kind, count in cost.machines.items():
                most[kind] = max(most.get(kind, 0), count)
        return most
