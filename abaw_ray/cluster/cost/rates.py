"""A workload and the worker that does it -> the worker's time, as a range.

Rates of a CPU core are measured (``predict.estimate.measured``); those of a GPU are its published peak times a utilization. Measured utilizations are
those of an H200; on other GPUs nothing was measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from abaw_ray.cluster.cost.ranges import Range
from abaw_ray.cluster.engine.workload import Workload
from abaw_ray.cluster.machines.machine_types import gpu_type
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.predict.estimate.measured import CPU

PEAK_TFLOPS = {"A10G": 70.0, "L4": 121.0, "L40S": 362.0, "A100": 312.0, "H100": 989.0, "H200": 989.0}
"""Dense bf16 products of one GPU in 10^12 operations per second, from NVIDIA's data sheets (those of H100 and H200: SXM)."""
_UTILIZATION = Range(0.25, 0.5)
"""Share of the peak that training and feature extraction reach. On an H200 a whole training reached 0.24, features 0.26, the encoder alone 0.40
(docs/performance.md, 2026-11-26); the upper end is the target of training. Ours."""
_H200 = Range(0.2, 0.32)
"""The same on an H200 and an H100, around the measured values. Ours."""
_CORE = Range(0.75, 1.6)
"""Time of a vCPU over that of the core on which the rates were measured: vCPUs are hardware threads, two of which share a core. Ours."""
_MODEL_STEP_MS = 5.7
"""A step of one fusion model in a population on one core (tools/benchmarks/fusion-2026-11-29-epyc-2.json)."""
_POPULATION_STEP_MS = Range(4.0, 15.0)
"""A step of a whole population on a GPU, bound by kernel launches: not measured. Ours."""


@dataclass(frozen=True, kw_only=True)
class WorkerTime:
    """What a workload takes."""

    seconds: Range
    """Of one worker, if it did everything."""
    source: str
    """Where the rates come from."""


def gpu_of(machine: Mapping[str, float], machine_type: str) -> str:
    """Type of the GPUs of a machine: that of its type, else the one that Ray detected; empty if unknown."""
    detected = next((name.partition(":")[2] for name in machine if name.startswith("accelerator_type:")), "")
    return gpu_type(machine_type) or detected.split("-")[0]


def worker_time(workload: Workload, worker: Resources, gpu: str) -> WorkerTime | None:
    """The time of one worker.

    Args:
        workload: What is computed.
        worker: Its CPUs and GPUs.
        gpu: Type of its GPU; ignored for a worker without one.

    Returns:
        None where the GPU's type has no rate.
    """
    if not worker.gpus:
        networks = (workload.images * CPU.image_ms + (workload.gflop + workload.training_gflop) * CPU.gflop_ms) / 1e3
        steps = workload.model_steps * _MODEL_STEP_MS / 1e3
        return WorkerTime(seconds=_spread(workload.cpu_s + networks + steps), source=f"one vCPU takes {_CORE.number_text} times a measured core")
    if gpu not in PEAK_TFLOPS:
        return None
    share = _H200 if gpu in ("H100", "H200") else _UTILIZATION
    products = (workload.gflop + workload.training_gflop) / 1e3 / PEAK_TFLOPS[gpu]
    busy = Range(products / share.high, products / share.low) + _POPULATION_STEP_MS.times(workload.population_steps / 1e3)
    fed = _spread(workload.cpu_s).times(1 / max(worker.cpus - 1, 1))  # threads beside the GPU
    return WorkerTime(seconds=busy.at_least(fed), source=f"{gpu}: {share.low:g} to {share.high:g} of {PEAK_TFLOPS[gpu]:,.0f} TFLOP/s in bf16")


def _spread(seconds: float) -> Range:
    return _CORE.times(seconds)
