"""What a cluster has room for: the machines that are there or, where they come with the work, all that its cluster file allows."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
"""Where ``ray up`` leaves the cluster file on the head, which is where drivers run. Ray itself does not tell them what may come."""


@dataclass(frozen=True)
class Machine:
    """One kind of machine, and how many of it there are or can be."""

    resources: Mapping[str, float]
    """CPU, GPU, memory (bytes): what Ray calls so."""
    count: int = 1

    def holds(self, *, cpus: float, gpus: float, memory: float = 0) -> int:
        """How many workers of this size one of these machines takes; what its file does not say of memory is no bound."""
        asked = {"CPU": cpus, "GPU": gpus} | ({"memory": memory} if "memory" in self.resources else {})
        return min((int(round(self.resources.get(name, 0) / value, 6)) for name, value in asked.items() if value), default=0)


def machines(bootstrap: Path = BOOTSTRAP) -> list[Machine]:
    """Of the cluster that Ray is connected to."""
    import ray

    joined = os.environ.get("RAY_ADDRESS")  # else it is a Ray of our own, on a head perhaps, and brings no machines
    return (allowed(bootstrap.expanduser()) if joined else []) or [Machine(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def allowed(path: Path) -> list[Machine]:
    """What a cluster file lets the autoscaler start; nothing where there is no file, or machines are owned and none are started."""
    import yaml

    if not path.exists():
        return []
    config = yaml.safe_load(path.read_text())
    kinds = {name: kind for name, kind in config.get("available_node_types", {}).items() if name != config.get("head_node_type")}
    if config["provider"]["type"] == "local":
        return []
    return [Machine(kind["resources"], min(kind.get("max_workers", 0), config["max_workers"])) for kind in kinds.values()]


def workers(there: Iterable[Machine], *, cpus: float, gpus: float, memory: float = 0) -> int:
    """How many workers of this size the machines take at the same time.

    Workers without a GPU are counted on machines without one, where there are such: the others are dear, and have other work to do.
    """
    there = list(there)
    plain = [machine for machine in there if not machine.resources.get("GPU")]
    for chosen in (there,) if gpus else (plain, there):
        if found := sum(machine.count * machine.holds(cpus=cpus, gpus=gpus, memory=memory) for machine in chosen):
            return found
    return 0
