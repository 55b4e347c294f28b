"""Metrics of one rank of a training, for Prometheus: the figures of the whole training come from rank 0."""

from collections.abc import Mapping

from abaw_ray.cluster.metrics.prometheus import (
    DATA_WAIT,
    GRADIENT_NORM,
    IMAGES_PER_SECOND,
    LEARNING_RATE,
    TRAINING_LOSS,
    TRAINING_STEP,
    Metrics,
)

_GAUGES = {
    "step": TRAINING_STEP,
    "loss": TRAINING_LOSS,
    "learning_rate": LEARNING_RATE,
    "grad_norm": GRADIENT_NORM,
    "images_per_second": IMAGES_PER_SECOND,
}
"""Name of a figure -> its metric."""


class RankMetrics:
    """Sets the metrics of a rank, in its process on Ray."""

    def __init__(self, stage: str, run: str, rank: int) -> None:
        """Set nothing yet.

        Args:
            stage: Name of the stage.
            run: Name of the run.
            rank: The rank.
        """
        self._metrics, self._rank = Metrics(stage, run), rank

    def add_data_wait(self, seconds: float) -> None:
        """Add a time for which this rank has waited for images, and set the peak of its GPU memory."""
        self._metrics.add(DATA_WAIT, seconds, rank=str(self._rank))
        self._metrics.set_gpu_memory()

    def set_figures(self, figures: Mapping[str, float | None]) -> None:
        """Set those figures of the latest steps that have a value and a metric; on rank 0 only."""
        if self._rank == 0:
            for name, gauge in _GAUGES.items():
                if (value := figures.get(name)) is not None:
                    self._metrics.set(gauge, value)
