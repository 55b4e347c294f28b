"""Metrics for Prometheus: all of them with their names, and how a process sets them.

Ray's agent on each node exports what the node's processes set, with the prefix ``ray_`` and tags for the node and the worker. Where Ray collects no
metrics, as in a local Ray, setting one has no effect.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class MetricDefinition:
    """One metric."""

    name: str
    """Name without Ray's prefix, with the unit as suffix; that of a counter ends in ``_total``."""
    kind: Literal["counter", "gauge"]
    description: str
    """What it counts or measures, with its unit."""
    tags: tuple[str, ...] = ("stage", "run")
    """Names of its tags."""


ITEMS = MetricDefinition(
    name="abaw_ray_items_total",
    kind="counter",
    description="Items of a stage that ended in this run. outcome: done, failed, or lost (not read or written; it is retried).",
    tags=("stage", "run", "outcome"),
)
FRAMES = MetricDefinition(name="abaw_ray_frames_total", kind="counter", description="Frames of the items that were processed.")
FACES = MetricDefinition(name="abaw_ray_faces_total", kind="counter", description="Faces of the items that were processed.")
ROWS = MetricDefinition(name="abaw_ray_rows_total", kind="counter", description="Rows of the items that were processed.")
ITEMS_REMAINING = MetricDefinition(
    name="abaw_ray_items_remaining", kind="gauge", description="Items of a stage that have not ended, those in progress included."
)
ITEMS_IN_PROGRESS = MetricDefinition(
    name="abaw_ray_items_in_progress", kind="gauge", description="Items in work in a worker; the sum over the workers is that of the stage."
)
GPU_MEMORY = MetricDefinition(
    name="abaw_ray_gpu_memory_peak_bytes", kind="gauge", description="Largest GPU memory that PyTorch has allocated in a process. Only with CUDA."
)
TRAINING_STEP = MetricDefinition(name="abaw_ray_training_step", kind="gauge", description="Number of steps taken.")
TRAINING_LOSS = MetricDefinition(
    name="abaw_ray_training_loss", kind="gauge", description="Training loss, mean over the ranks and the steps since the last value."
)
LEARNING_RATE = MetricDefinition(
    name="abaw_ray_training_learning_rate", kind="gauge", description="Learning rate of the last step, that of the topmost layer."
)
GRADIENT_NORM = MetricDefinition(
    name="abaw_ray_training_gradient_norm",
    kind="gauge",
    description="Norm of the gradient of the last step over all ranks, before clipping. Missing with ZeRO 0 in float32.",
)
IMAGES_PER_SECOND = MetricDefinition(
    name="abaw_ray_training_images_per_second",
    kind="gauge",
    description="Training images per second of all ranks; validation is no part.",
)
DATA_WAIT = MetricDefinition(
    name="abaw_ray_training_data_wait_seconds_total",
    kind="counter",
    description="Seconds that a rank has waited for the images of its next step.",
    tags=("stage", "run", "rank"),
)
DEFINITIONS = (
    ITEMS,
    FRAMES,
    FACES,
    ROWS,
    ITEMS_REMAINING,
    ITEMS_IN_PROGRESS,
    TRAINING_STEP,
    TRAINING_LOSS,
    LEARNING_RATE,
    GRADIENT_NORM,
    IMAGES_PER_SECOND,
    DATA_WAIT,
    GPU_MEMORY,
)
"""All metrics."""


class Metrics:
    """The metrics of a stage in this process, which is connected to Ray."""

    def __init__(self, stage: str, run: str) -> None:
        """Make no metric yet.

        Args:
            stage: Name of the stage.
            run: Name of the run.
        """
        self._tags = {"stage": stage, "run": run}
        self._made: dict[str, Any] = {}

    def add(self, counter: MetricDefinition, value: float, **tags: str) -> None:
        """Add to a counter; 0 changes nothing. ``tags`` are those beside ``stage`` and ``run``."""
        if value > 0:
            self._metric(counter).inc(value, self._tags | tags)

    def set(self, gauge: MetricDefinition, value: float, **tags: str) -> None:
        """Set a gauge; ``tags`` are those beside ``stage`` and ``run``."""
        self._metric(gauge).set(value, self._tags | tags)

    def add_figures(self, figures: Mapping[str, float]) -> None:
        """Add the frames, faces and rows among the figures of an item."""
        for name, counter in (("frames", FRAMES), ("faces", FACES), ("rows", ROWS)):
            self.add(counter, figures.get(name, 0))

    def set_gpu_memory(self) -> None:
        """Set the peak of the GPU memory, where this process uses a GPU."""
        cuda = sys.modules.get("torch.cuda")  # a process without PyTorch uses none
        is_initialized = getattr(cuda, "is_initialized", None)  # missing while another thread imports PyTorch
        if cuda and is_initialized and is_initialized():
            self.set(GPU_MEMORY, cuda.max_memory_allocated())

    def _metric(self, definition: MetricDefinition) -> Any:
        if definition.name not in self._made:
            from ray.util.metrics import Counter, Gauge

            kind = Counter if definition.kind == "counter" else Gauge
            self._made[definition.name] = kind(definition.name, definition.description, definition.tags)
        return self._made[definition.name]
