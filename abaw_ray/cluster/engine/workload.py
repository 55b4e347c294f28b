"""What a stage computes, independent of machines: the input of the estimate of its time and cost in the plan."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Work that is not done yet. 10^9 operations count multiplication and addition as two."""

    text: str
    """What it is, for the plan: ``2,588,557 frames``."""
    cpu_s: float = 0.0
    """Seconds of one CPU core for what every worker does on its CPUs: decoding, faces, crops, tables."""
    images: float = 0.0
    """Images that pass through an encoder; one in training counts three times, as its arithmetic does."""
    gflop: float = 0.0
    """Arithmetic of networks in forward passes, in 10^9 operations."""
    training_gflop: float = 0.0
    """Arithmetic of forward and backward passes, in 10^9 operations."""
    model_steps: float = 0.0
    """Optimizer steps of single fusion models."""
    population_steps: float = 0.0
    """The same work as steps of whole populations, which a GPU computes at once."""
    parallel: int = 0
    """Most workers that can share it; 0 for any number."""
    sources: tuple[str, ...] = ()
    """Where the rates behind ``cpu_s`` come from, and what was assumed."""
