"""Lines for the user while workers of a stage wait for machines on a cluster: for how many, for how long, and why there are none."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from abaw_ray.cluster.machines.autoscaler import cluster_status, requests_without_room, why_no_machines
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.wait_notice import WaitNotice, with_reason
from abaw_ray.core.progress import echo

_POLL_S = 5.0
"""Seconds between two looks. Ours."""


@contextmanager
def waiting_shown(stage: str, pools: Sequence[Resources]) -> Iterator[None]:
    """Show while the block runs, once a minute, for how many of these workers there are no machines.

    Args:
        stage: Name of the stage, for the lines.
        pools: Sizes of its workers.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(partial(_missing, pools), lambda text: echo(f"  {stage}: {text}"), ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=_POLL_S)


def _watch(missing: Callable[[], str], show: Callable[[str], None], ended: threading.Event, poll_s: float = _POLL_S) -> None:
    """Show what is missing until the event is set; a wait begins anew after nothing was missing."""
    notice = None
    while not ended.wait(poll_s):
        if not (text := missing()):
            notice = None
            continue
        notice = notice or WaitNotice(show)
        notice.update(lambda text=text: with_reason(text, why_no_machines()))


def _missing(pools: Sequence[Resources]) -> str:
    """Workers that have no room; empty where all have room, or nothing is known."""
    if (status := cluster_status()) is None:
        return ""
    parts = []
    for size in dict.fromkeys(pools):
        sizes = {size, replace(size, cpus=0.0)}  # later operators of a chain request no CPUs
        if count := sum(requests_without_room(status, each) for each in sizes):
            parts.append(f"{count} {'worker' if count == 1 else 'workers'} with {size.size_text} each")
    return " and ".join(parts)
