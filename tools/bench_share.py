"""A part of one CPU for a whole machine made of namespaces, so that machines which share this one's CPUs take nothing from each other.

By the kernel's control groups (root): a machine that has used its part of a hundredth of a second waits for the next one, and until then
it comes before whatever is in no group.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from abaw_ray.core.errors import ConfigError

_GROUPS = Path("/sys/fs/cgroup")
_PERIOD_US = 10_000


@contextmanager
def cpu_share(name: str, cpu: int, share: float, groups: Path = _GROUPS) -> Iterator[tuple[str, ...]]:
    """The beginning of a command line: what follows, and all that it starts, runs on one CPU and has at most ``share`` of its time.

    Args:
        name: Of the control group, which is removed afterwards; everything in it must have ended by then.
        cpu: Number of the CPU.
        share: Above 0; 1 limits nothing.
        groups: Where the kernel's control groups are.

    Raises:
        ConfigError: control groups cannot limit CPU time here.
    """
    bound = ("taskset", "-c", str(cpu))
    if share >= 1:
        yield bound
        return
    try:
        group = _limited(groups, name, round(share * _PERIOD_US))
    except OSError as error:
        raise ConfigError(f"{groups}: CPU time cannot be limited here ({error}); ask for the whole of a CPU instead (--share 1)") from error
    try:
        yield (*bound, "sh", "-c", f'echo 0 > {group}/cgroup.procs && exec "$0" "$@"')
    finally:
        _removed(group)


def _limited(groups: Path, name: str, quota_us: int) -> Path:
    if (groups / "cgroup.controllers").exists():  # version 2
        (groups / "cgroup.subtree_control").write_text("+cpu")
        group, limits = groups / name, {"cpu.max": f"{quota_us} {_PERIOD_US}", "cpu.weight": "10000"}
    else:
        group = groups / "cpu" / name
        limits = {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": str(quota_us), "cpu.shares": "262144"}
    group.mkdir(exist_ok=True)
    for file, limit in limits.items():
        with os.fdopen(os.open(group / file, os.O_WRONLY), "w") as setting:  # never made by us: a kernel without it has to say so
            setting.write(limit)
    return group


def _removed(group: Path) -> None:
    """Remove it as soon as the last process in it is gone."""
    for _ in range(50):
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.1)
        else:
            return
