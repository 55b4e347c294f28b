"""What became of the tasks of a stage: shown on the terminal, counted for the metrics, and added to the index of the store."""

import json
from collections.abc import Mapping

from abaw_ray.cluster.engine.workers.worker import Task
from abaw_ray.cluster.metrics.item_metrics import ItemMetrics
from abaw_ray.core.progress import Progress, echo
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.stage_store.store_index import StoreIndex


class Outcomes:
    """Receives the manifest rows that come back from the workers."""

    def __init__(self, store: StageStore, shown: Progress, metrics: ItemMetrics, index: StoreIndex, retried: Mapping[str, dict]) -> None:
        """Receive nothing yet.

        Args:
            store: The stage's storage.
            shown: Progress display.
            metrics: Counts what became of the items.
            index: The store's; finished outputs are added.
            retried: Failures of an earlier run that are retried, by item name.
        """
        self.shown, self.retried = shown, retried
        self._store, self._metrics, self._index = store, metrics, index
        self._finished: set[str] = set()

    def add_lost(self) -> None:
        """Count one loss of a task."""
        self._metrics.add_ended("lost")
        self._metrics.update_curves()

    def add(self, row: dict, task: Task) -> None:
        """Print a failure, and count the outcome of a task that was not lost."""
        item = task[0]
        self._echo(row, item.name)
        if not row["reason"] and row["finished"] and item.name in self.retried:
            self._store.forget_failures([item])
        new = row["finished"] and item.name not in self._finished
        figures = json.loads(row["figures"]) if new or not row["finished"] else {}
        self._metrics.add_figures(figures)
        if new:
            self._finished.add(item.name)
            self._metrics.add_ended("failed" if row["reason"] else "done")
            if "rows" in figures and not row["reason"]:
                self._index.add(self._store.output(item), int(figures["rows"]))
        self.shown.step(int(new), figures, work=work_of(task))
        self._metrics.update_curves()

    def _echo(self, row: dict, name: str) -> None:
        if row["reason"]:
            echo(f"  {name}: {row['reason']}")
        elif row["deaths"]:
            echo(f"  {name}: processed again, because its worker's process died during it")


def work_of(task: Task) -> float:
    """Work of a task relative to others of its stage: the bytes that it reads where its payload names them."""
    return max(task[1].get("size", 1), 1)
