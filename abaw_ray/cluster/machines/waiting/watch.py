"""While workers of a stage wait for machines on a cluster: lines for the user (for how many, for how long, why), and on-demand machines."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

from abaw_ray.cluster.machines.autoscaler import cluster_status, requests_without_room, why_no_machines
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.waiting.notice import WaitNotice, with_reason
from abaw_ray.cluster.machines.waiting.on_demand import OnDemandRequest
from abaw_ray.core.progress import echo

_LOG = logging.getLogger(__name__)
_POLL_S = 5.0
"""Seconds between two looks. Ours."""
_END_S = 15.0
"""Longest wait for the end of the last look, in seconds: the status of a head that does not answer takes ten. Ours."""
Missing = Mapping[Resources, int]
"""Size of a worker -> number of workers of this size without room."""


@contextmanager
def watch_waits(stage: str, sizes: Callable[[], Iterable[Resources]], on_demand_after_minutes: float) -> Iterator[None]:
    """While the block runs, show once a minute for how many workers there are no machines, and request on-demand machines after a long wait.

    Args:
        stage: Name of the stage, for the lines.
        sizes: Returns the sizes of its workers and tasks, as far as they are known by now.
        on_demand_after_minutes: Time in which no machine runs for workers of a size, before on-demand machines are requested; 0 for never.
    """

    def show(text: str) -> None:
        echo(f"  {stage}: {text}")

    ended, on_demand = threading.Event(), OnDemandRequest(after_minutes=on_demand_after_minutes, show=show)
    thread = threading.Thread(target=_watch, args=(partial(_missing, sizes, on_demand), show, ended, on_demand), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=_END_S)


def _watch(
    missing: Callable[[], Missing | None], show: Callable[[str], None], ended: threading.Event, on_demand: OnDemandRequest, poll_s: float = _POLL_S
) -> None:
    """Watch what is missing until the event is set; a wait begins anew after nothing was missing."""
    from ray.exceptions import RayError

    notice = None
    try:
        while not ended.wait(poll_s):
            try:
                found = missing()
                if found is None or ended.is_set():
                    continue
                notice = (notice or WaitNotice(show)) if found else None
                if notice is None:
                    on_demand.release()
                else:
                    notice.update(lambda found=found: with_reason(_text(found), why_no_machines()))
                    on_demand.update(found)
            except RayError as error:  # the head is busy; the next look may succeed
                _LOG.warning("the wait for machines: %s", error)
    except Exception:  # the stage itself goes on
        _LOG.warning("waiting for machines is no longer shown", exc_info=True)
    finally:
        with suppress(Exception):
            on_demand.release()


def _missing(sizes: Callable[[], Iterable[Resources]], on_demand: OnDemandRequest) -> Missing | None:
    """Workers that have no room; None where nothing is known."""
    if (status := cluster_status()) is None:
        return None
    missing = {}
    for size in dict.fromkeys(replace(size, workers=0) for size in sizes()):
        variants = {size, replace(size, cpus=0.0)}  # later operators of a chain, and the task that joins frames, request no CPUs
        count = sum(requests_without_room(status, each) for each in variants) - on_demand.counted(size)
        if count > 0:
            missing[size] = count
    return missing


def _text(missing: Missing) -> str:
    return " and ".join(f"{count} {'worker' if count == 1 else 'workers'} with {size.size_text} each" for size, count in missing.items())
