"""KubeRay ``RayJob`` -> problems of its pods' sizes: workers of the job's stages for which they have no room."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from abaw_ray.cli.jobs import settings_of
from abaw_ray.cluster.engine.run import RunConfig
from abaw_ray.cluster.launch.config import SweepJob
from abaw_ray.cluster.machines.capacity import Machine, max_workers
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.stages.annotations import gb_to_join
from abaw_ray.core.errors import ConfigError

_ROOT = Path(__file__).parents[3]
_UNITS = {"": 1, "m": 0.001, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
"""Suffixes of Kubernetes' quantities."""
_OBJECT_STORE = 0.3
"""Part of a pod's memory that Ray takes for its object store, where ``object-store-memory`` is not set."""
FEATURES_BYTES = 9.3e9
"""Features of all frames of Aff-Wild2 at the paper's widths, once in the object store of each node that trains fusion models
(``abaw_ray.fusion.frames``). An upper bound: that of all 2.6 million frames; a sweep joins the 5.6 GB of Train_Set and Validation_Set."""
_WHERE = "spec.rayClusterSpec.workerGroupSpecs"


def check_sizes(spec: dict) -> Iterator[str]:
    """Yield the stages of the job whose workers do not fit on the pods, and the groups whose object store is too small.

    Args:
        spec: ``spec`` of the ``RayJob``.
    """
    try:
        settings = _settings(spec.get("entrypoint") or "")
    except ConfigError as error:
        yield f"spec.entrypoint: {error}"
        return
    if settings is None:
        return
    groups = (spec.get("rayClusterSpec") or {}).get("workerGroupSpecs") or []
    pods = {str(group.get("groupName")): _pod(group) for group in groups}
    machines = [pod for pod, _ in pods.values()]
    for name in ("decode", "features", "training", "fusion"):
        size = getattr(settings.compute, name)
        needed, fitting = size.workers or 1, max_workers(machines, size)
        if fitting < needed:
            room = f"the pods have room for {fitting}; raise their memory, cpu or maxReplicas, or lower compute.{name}"
            yield f"{_WHERE}: compute.{name} needs {needed} workers with {size.size_text} each, and {room}"
    if isinstance(settings, SweepJob) and settings.data.affwild2:
        join = Resources(memory_gb=gb_to_join(FEATURES_BYTES))
        if not max_workers(machines, join):
            yield f"{_WHERE}: reading all features needs {join.memory_gb:g} GB beside the object store, and no pod has so much; raise the memory"
        for name, (pod, store) in pods.items():
            if settings.compute.fusion.per_machine(pod.resources) and store < FEATURES_BYTES:
                remedy = "set rayStartParams.object-store-memory or raise the memory"
                yield f"{_WHERE}.{name}: the object store has {store / 1e9:.1f} GB, and all features need {FEATURES_BYTES / 1e9:g} GB; {remedy}"


def _settings(entrypoint: str) -> RunConfig | None:
    """Return the settings that a command line selects; None if it starts no job of ``jobs/``, which is another rule's problem.

    Raises:
        ConfigError: an option or a value of the command line is not valid.
    """
    words = shlex.split(entrypoint)
    for number, word in enumerate(words):
        script = _ROOT / "jobs" / Path(word).name
        if word.endswith(".py") and script.exists() and (job := re.search(r'main\("([\w-]+)"\)', script.read_text())):
            return settings_of(job[1], words[number + 1 :])
    return None


def _pod(group: dict) -> tuple[Machine, float]:
    """Return what the pods of a group have for workers, and the bytes of the object store of each."""
    containers = ((group.get("template") or {}).get("spec") or {}).get("containers") or [{}]
    resources = containers[0].get("resources") or {}
    amounts = {**(resources.get("requests") or {}), **(resources.get("limits") or {})}
    memory = _amount(amounts.get("memory", 0))
    store = _amount((group.get("rayStartParams") or {}).get("object-store-memory", memory * _OBJECT_STORE))
    available = {"CPU": _amount(amounts.get("cpu", 0)), "GPU": _amount(amounts.get("nvidia.com/gpu", 0)), "memory": memory - store}
    return Machine(available, group.get("maxReplicas") or 0), store


def _amount(quantity: object) -> float:
    """Return the value of a Kubernetes quantity such as ``500m`` or ``28Gi``; 0 if it is none."""
    match = re.fullmatch(r"([\d.]+(?:e\d+)?)([a-zA-Z]*)", str(quantity))
    return float(match[1]) * _UNITS.get(match[2], 0) if match else 0.0
