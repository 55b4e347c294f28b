"""While workers of a stage wait for machines on a cluster: lines for the user (for how many, for how long, why), and on-demand machines."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

from abaw_ray.cluster.machines.autoscaler import cluster_status, requests_without_room, why_no_machines
from abaw_ray.cluster.machines.capacity import max_workers, running_machines
from abaw_ray.cluster.machines.on_demand import OnDemandRequest
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.wait_notice import WaitNotice, with_reason
from abaw_ray.core.progress import echo

_POLL_S = 5.0
"""Seconds between two looks. Ours."""
Missing = Mapping[Resources, int]
"""Size of a worker -> number of workers of this size without room."""


@contextmanager
def watch_waits(stage: str, pools: Sequence[Resources], on_demand_after_minutes: float) -> Iterator[None]:
    """While the block runs, show once a minute for how many workers there are no machines, and request on-demand machines after a long wait.

    Args:
        stage: Name of the stage, for the lines.
        pools: Sizes of its workers.
        on_demand_after_minutes: Time without any machine for workers of a size before on-demand machines are requested; 0 for never.
    """

    def show(text: str) -> None:
        echo(f"  {stage}: {text}")

    ended, on_demand = threading.Event(), OnDemandRequest(after_minutes=on_demand_after_minutes, show=show)
    thread = threading.Thread(target=_watch, args=(partial(_missing, pools, on_demand), show, ended, on_demand), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=_POLL_S)


def _watch(
    missing: Callable[[], Missing], show: Callable[[str], None], ended: threading.Event, on_demand: OnDemandRequest, poll_s: float = _POLL_S
) -> None:
    """Watch what is missing until the event is set; a wait begins anew after nothing was missing."""
    from ray.exceptions import RayError

    notice = None
    while not ended.wait(poll_s):
        with suppress(RayError):  # the head does not answer: the stage itself fails, or continues with the next look
            if found := missing():
                notice = notice or WaitNotice(show)
                notice.update(lambda found=found: with_reason(_text(found), why_no_machines()))
                on_demand.update(notice.seconds, _without_machine(found))
            else:
                notice = None
                on_demand.release()
    with suppress(RayError):
        on_demand.release()


def _missing(pools: Sequence[Resources], on_demand: OnDemandRequest) -> Missing:
    """Workers that have no room; empty where all have room, or nothing is known."""
    if (status := cluster_status()) is None:
        return {}
    missing = {}
    for size in dict.fromkeys(pools):
        sizes = {size, replace(size, cpus=0.0)}  # later operators of a chain request no CPUs
        count = sum(requests_without_room(status, each) for each in sizes) - on_demand.waiting(size)
        if count > 0:
            missing[size] = count
    return missing


def _text(missing: Missing) -> str:
    return " and ".join(f"{count} {'worker' if count == 1 else 'workers'} with {size.size_text} each" for size, count in missing.items())


def _without_machine(missing: Missing) -> Missing:
    """Those of the workers for whose size no machine runs, not even a busy one."""
    running = running_machines()
    return {size: count for size, count in missing.items() if not max_workers(running, size)}
