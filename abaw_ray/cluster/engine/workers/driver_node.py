"""Small actors beside the driver that coordinate the workers of a stage, and the nodes that are alive."""

from typing import Any


def alive_nodes() -> set[str]:
    """Hexadecimal ids of the cluster's running nodes."""
    import ray

    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def start_on_driver_node(kind: type, *args: Any, **options: Any) -> Any:
    """An actor of a class on the driver's node. It reserves no CPU, is restarted without its state, and ends when the driver drops its reference.

    Args:
        kind: The class.
        args: Arguments of its constructor.
        options: Further options of the actor.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    always: dict[str, Any] = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
    return ray.remote(**always, **options)(kind).remote(*args)
