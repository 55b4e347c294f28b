"""What Ray's scheduler and autoscaler say about requests without room. Only this module reads their state, for which Ray has no stable interface.

``tests/cluster/test_private_apis.py`` fails when it changes.
"""

import re
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from abaw_ray.cluster.machines.capacity import on_demand_types
from abaw_ray.cluster.machines.resources import Resources

_LOG_BYTES, _MAX_REASON = 200_000, 160
"""How much of the end of the autoscaler's log is read, and the longest reason in characters. Ours."""
_RECENT_S = 120.0
"""Age of a failed launch after which it says nothing about the present, in seconds; the autoscaler tries again every few seconds. Ours."""


def cluster_status() -> Any | None:
    """Ray's ``ClusterStatus``: nodes, launches, demands. None where this process is not connected to Ray, and where the head does not answer."""
    ray: Any = sys.modules.get("ray")
    if not hasattr(ray, "is_initialized") or not ray.is_initialized():  # it has no such attribute while another thread imports it
        return None
    from ray.autoscaler.v2.sdk import get_cluster_status

    try:
        return get_cluster_status(ray.get_runtime_context().gcs_address)
    except ray.exceptions.RpcError:
        return None


def machine_types(*, starting: bool = False) -> Counter[str]:
    """Type of machine -> number of machines of the cluster that run now; ``machine`` where Ray knows no type. Empty without a status.

    On-demand machines have a name of their own, as in the prices: ``g5.12xlarge on demand``.

    Args:
        starting: Whether those that the cloud has started and that have not joined yet count too; on Kubernetes they may be pods without a machine.
    """
    if (status := cluster_status()) is None:
        return Counter()
    nodes, on_demand = [*status.active_nodes, *status.idle_nodes, *(status.pending_nodes if starting else ())], on_demand_types()
    names = ((on_demand.get(node.ray_node_type_name) or node.instance_type_name or node.ray_node_type_name, node.node_id) for node in nodes)
    return Counter("machine" if name in ("", f"node_{node_id}") else name for name, node_id in names)  # Ray's name where it has no type


def starting_machines() -> Counter[str]:
    """Node type -> number of machines that the cloud has started and that have not joined yet. Empty without a status."""
    status = cluster_status()
    return Counter() if status is None else Counter(node.ray_node_type_name for node in status.pending_nodes)


def requests_without_room(status: Any, resources: Resources) -> int:
    """Number of requests for workers of this size that wait for room: tasks, actors and placement groups.

    Args:
        status: From ``cluster_status``.
        resources: Size of a worker.
    """
    demands = [*status.resource_demands.ray_task_actor_demand, *status.resource_demands.placement_group_demand]
    return sum(bundle.count for demand in demands for bundle in demand.bundles_by_count if _same_size(bundle.bundle, resources.request))


def _same_size(bundle: Mapping[str, float], request: Mapping[str, float]) -> bool:
    return {name: round(value, 4) for name, value in bundle.items()} == {name: round(value, 4) for name, value in request.items()}


def why_no_machines() -> str:
    """Which machines are starting, and why others are not: ``1 x g5.2xlarge is starting; g5.xlarge: InsufficientInstanceCapacity in us-west-2a``.

    Returns:
        Empty where the autoscaler says nothing, as on machines that are always running, and without a status.
    """
    status = cluster_status()
    return "" if status is None else machines_text(status, _log_end(), time.time(), on_demand_types())


def machines_text(status: Any, log: str, now: float, on_demand: Mapping[str, str] | None = None) -> str:
    """The text of ``why_no_machines``.

    Args:
        status: From ``cluster_status``. For AWS and Google Cloud, its failed launches have no reason.
        log: End of the autoscaler's log, which has the reasons.
        now: Seconds since 1970.
        on_demand: Names of on-demand machines by their node type.
    """
    names = {one.ray_node_type_name: one.instance_type_name or one.ray_node_type_name for one in [*status.pending_nodes, *status.failed_launches]}
    names |= on_demand or {}
    failed = {launch.ray_node_type_name for launch in status.failed_launches if now - launch.failed_ts_s < _RECENT_S}
    starting = Counter(node.ray_node_type_name for node in status.pending_nodes)
    starting.update({launch.ray_node_type_name: launch.count for launch in status.pending_launches if launch.ray_node_type_name not in failed})
    parts = [f"{count} x {names.get(kind, kind)} {'is' if count == 1 else 'are'} starting" for kind, count in sorted(starting.items())]
    reasons = dict(re.findall(r"Failed to launch \d+ nodes of type (\S+): (.+)", log))  # the last of each type
    unknown = "it could not be started, see `ray monitor`"
    return "; ".join([*parts, *(f"{names[kind]}: {_short(reasons.get(kind, unknown))}" for kind in sorted(failed))])


def _short(reason: str) -> str:
    """The cloud's error code with the zone where there is one, else the first words."""
    code, zone = re.search(r"\(([A-Z][A-Za-z]+[a-z])\)", reason), re.search(r"\b[a-z]{2,}(?:-[a-z]+)+-?\d-?[a-z]\b", reason)
    if not code:
        return reason[:_MAX_REASON]
    return code[1] + (f" in {zone[0]}" if zone else "")


def _log_end() -> str:
    """End of the autoscaler's log, which is on the head, where drivers of submitted jobs run; empty elsewhere."""
    from ray._private import worker

    node: Any = worker.global_worker.node
    path = Path(node.get_session_dir_path(), "logs", "monitor.log")
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LOG_BYTES))
        return file.read().decode(errors="replace")
