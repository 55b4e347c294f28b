"""Machines on which tasks and actors must not run."""

from collections.abc import Iterable


def nodes_without_cpus() -> frozenset[str]:
    """Hexadecimal ids of the running nodes without CPUs.

    Such a node is the head of a cluster: it is given no CPUs so that it gets no work, but it has memory, and Ray would place tasks there that request
    no CPUs.
    """
    import ray

    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"] and not node["Resources"].get("CPU"))


def not_on(nodes: Iterable[str]) -> dict[str, str] | None:
    """The option ``label_selector`` of a task or an actor that must not run on these nodes; None for any node.

    Args:
        nodes: Hexadecimal ids. A machine that restarts has a new one.
    """
    ids = sorted(nodes)
    return {"ray.io/node-id": f"!in({','.join(ids)})"} if ids else None
