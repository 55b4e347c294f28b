"""Number of workers that fit on a cluster: on the running nodes or, with an autoscaler, on all nodes that its cluster file allows."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from abaw_ray.cluster.machines.machine_types import resources_of
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.core.errors import ConfigError

BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
"""Path of the cluster file that ``ray up`` copies to the head node, where drivers run. Ray has no API for the nodes that may still start."""


ON_DEMAND = {"abaw-pool": "on-demand"}
"""Label of the types of machines that start only after a long wait for the others. It is ours, not the cloud's."""


@dataclass(frozen=True)
class Machine:
    """One kind of machine, and the number of them that run or can start."""

    resources: Mapping[str, float]
    """Amounts by Ray's resource names: CPU, GPU, memory (bytes)."""
    count: int = 1
    type: str = ""
    """The cloud's name of it; empty where it is not known."""


def machines(bootstrap: Path = BOOTSTRAP) -> list[Machine]:
    """The machines of the cluster that Ray is connected to: those that may start, or else those that run."""
    joined = os.environ.get("RAY_ADDRESS")  # without it Ray is local, even on a head node, and starts no machines
    return (allowed(bootstrap.expanduser()) if joined else []) or running_machines()


def running_machines() -> list[Machine]:
    """The machines that run now."""
    import ray

    return [Machine(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def autoscales(bootstrap: Path = BOOTSTRAP) -> bool:
    """Whether a cluster file says which machines may still start."""
    return bool(allowed(bootstrap.expanduser()))


def machines_of_file(path: Path) -> list[Machine]:
    """The machines that a cluster file on this machine lets the autoscaler start, for a plan before ``ray up``.

    Raises:
        ConfigError: there is no such file, or it lists no types of machines.
    """
    import yaml

    try:
        found = allowed(path)
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"cluster_file={path}: is no cluster file of Ray ({type(error).__name__}); give one like cluster.yaml") from error
    if not found:
        raise ConfigError(f"cluster_file={path}: {'lists no machines that may start' if path.is_file() else 'there is no such file'}")
    if unknown := [machine.type or "a machine without a type" for machine in found if not machine.resources]:
        raise ConfigError(f"cluster_file={path}: the CPUs of {unknown[0]} are unknown; set its resources there: {{CPU: 16, GPU: 1}}")
    return found


def machine_type(node: Mapping[str, Any]) -> str:
    """The cloud's name of the machines of an entry of ``available_node_types``; empty where it states none."""
    settings = node.get("node_config") or {}
    return str(settings.get("InstanceType") or settings.get("machineType") or "")


def priced_as(node: Mapping[str, Any]) -> str:
    """Name of the machines of an entry of ``available_node_types`` in prices and records: ``g5.12xlarge``, ``g5.12xlarge on demand``."""
    return machine_type(node) + " on demand" * is_on_demand(node)


def is_on_demand(node: Mapping[str, Any]) -> bool:
    """Whether the machines of an entry of ``available_node_types`` start only after a long wait for the others."""
    return ON_DEMAND.items() <= (node.get("labels") or {}).items()


def allowed(path: Path) -> list[Machine]:
    """Nodes that a cluster file lets the autoscaler start for any work: without those on demand.

    Empty without a file, or where the cluster's machines are always running.
    """
    return [machine for node, machine in _node_types(path).values() if not is_on_demand(node)]


def on_demand_machines(bootstrap: Path = BOOTSTRAP) -> dict[str, Machine]:
    """Node type -> the on-demand machines that may start on the cluster that Ray is connected to."""
    joined = os.environ.get("RAY_ADDRESS")
    types = _node_types(bootstrap.expanduser()) if joined else {}
    return {name: machine for name, (node, machine) in types.items() if is_on_demand(node) and machine.count}


def on_demand_types(bootstrap: Path = BOOTSTRAP) -> dict[str, str]:
    """Name of each node type of on-demand machines in the cluster file -> its name in prices and records."""
    return {name: priced_as(node) for name, (node, _) in _node_types(bootstrap.expanduser()).items() if is_on_demand(node)}


def _node_types(path: Path) -> dict[str, tuple[Mapping[str, Any], Machine]]:
    """The node types of a cluster file without that of the head."""
    import yaml

    if not path.exists():
        return {}
    config = yaml.safe_load(path.read_text())
    if config["provider"]["type"] == "local":
        return {}
    types = {name: node for name, node in config.get("available_node_types", {}).items() if name != config.get("head_node_type")}
    return {name: (node, _machine(node, config["max_workers"])) for name, node in types.items()}


def _machine(node: Mapping[str, Any], max_workers: int) -> Machine:
    kind = machine_type(node)
    return Machine(node["resources"] or resources_of(kind), min(node.get("max_workers", 0), max_workers), kind)


def max_workers(available: Iterable[Machine], resources: Resources) -> int:
    """Number of workers of this size that fit on the machines at the same time.

    Workers without a GPU are counted on machines without one where such exist: GPU nodes are expensive, and CPU work is kept off them.
    """
    available = list(available)
    cpu_only = [machine for machine in available if not machine.resources.get("GPU")]
    for chosen in (available,) if resources.gpus else (cpu_only, available):
        if fitting := sum(machine.count * resources.per_machine(machine.resources) for machine in chosen):
            return fitting
    return 0


def divide(available: Iterable[Machine], operators: Sequence[Resources]) -> list[Resources]:
    """Sizes of the operators of a chain, with their numbers of workers, so that all of them run on the machines at the same time.

    An operator that had to wait for machines until the one before it ends would never start, for that one waits for it. So all but the first
    request no CPUs from Ray, and get their workers first; the workers of the first operator are as many as the remaining CPUs, or one.

    Returns:
        The operators in their order; empty where they have no room, as for lack of memory.
    """
    first, *later = operators
    machines, divided = [Machine(machine.resources) for machine in available for _ in range(machine.count)], list[Resources]()
    for resources in reversed(later):
        fitting = max_workers(machines, resources)
        share = fitting if resources.gpus else max(fitting // len(operators), 1)
        size = replace(resources, workers=min(resources.workers or share, share))
        if not fitting:
            return []
        machines = _without(machines, size)
        divided.insert(0, replace(size, cpus=0.0))
    has_memory = any(machine.resources.get("memory", first.memory) >= first.memory for machine in machines)
    fitting = max_workers(machines, first) or int(has_memory)
    return [replace(first, workers=min(first.workers or fitting, fitting)), *divided] if fitting else []


def _without(machines: list[Machine], resources: Resources) -> list[Machine]:
    """What these workers leave of the machines; those without a GPU are filled before the others, as in ``max_workers``."""
    left, workers = [], resources.workers
    for machine in sorted(machines, key=lambda machine: machine.resources.get("GPU", 0)):
        count = min(resources.per_machine(machine.resources), workers)
        workers -= count
        left.append(Machine({name: value - count * resources.request.get(name, 0) for name, value in machine.resources.items()}))
    return left
