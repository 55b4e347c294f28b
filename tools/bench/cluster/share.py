"""A part of one CPU for a whole machine made of namespaces, so that machines which share this one's CPUs take nothing from each other.

By the kernel's control groups (root): a machine that has used its part of a hundredth of a second waits for the next one, and until then
it comes before whatever is in no such group.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from abaw_ray.core.errors import ConfigError

_GROUPS = Path("/sys/fs/cgroup")
_PERIOD_US = 10_000


@dataclass(frozen=True)
class Group:
    """What the processes of one machine have in common."""

    folders: tuple[Path, ...]
    """One, or with version 1 of control groups one for the limits and one for the counting."""
    cpu: int | None
    """The CPU they are bound to, if to one."""

    @property
    def bound(self) -> tuple[str, ...]:
        """The beginning of a command line: what follows, and all that it starts, is in the group."""
        enter = "".join(f"echo 0 > {folder}/cgroup.procs && " for folder in self.folders)
        return (*(() if self.cpu is None else ("taskset", "-c", str(self.cpu))), "sh", "-c", f'{enter}exec "$0" "$@"')

    def cpu_seconds(self) -> float:
        """CPU time of all that has ever run in it."""
        folder = self.folders[-1]
        if (folder / "cpuacct.usage").exists():
            return int((folder / "cpuacct.usage").read_text()) / 1e9
        lines = (line.split() for line in (folder / "cpu.stat").read_text().splitlines())
        return int(dict(lines)["usage_usec"]) / 1e6


@contextmanager
def cpu_group(name: str, cpu: int | None = None, share: float = 1, groups: Path = _GROUPS) -> Iterator[Group]:
    """A new control group.

    Args:
        name: Its name. It is removed afterwards; everything in it must have ended by then.
        cpu: Number of the CPU it is bound to; None: to none.
        share: Above 0: how much of a CPU it may use; 1 limits nothing.
        groups: Where the kernel's control groups are.

    Raises:
        ConfigError: control groups of this kernel cannot be had.
    """
    try:
        group = Group(_made(groups, name, None if share >= 1 else round(share * _PERIOD_US)), cpu)
    except OSError as error:
        raise ConfigError(f"{groups}: CPU time cannot be limited and counted here: {error}") from error
    try:
        yield group
    finally:
        for folder in group.folders:
            _removed(folder)


def _made(groups: Path, name: str, quota_us: int | None) -> tuple[Path, ...]:
    limits: dict[str, str]
    if (groups / "cgroup.controllers").exists():  # version 2
        (groups / "cgroup.subtree_control").write_text("+cpu")
        folders = (groups / name,)
        limits = {"cpu.max": f"{quota_us} {_PERIOD_US}", "cpu.weight": "10000"}
    else:
        folders = groups / "cpu" / name, groups / "cpuacct" / name
        limits = {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": str(quota_us), "cpu.shares": "262144"}
    for folder in folders:
        folder.mkdir(exist_ok=True)
    for file, limit in limits.items() if quota_us else ():
        with os.fdopen(os.open(folders[0] / file, os.O_WRONLY), "w") as setting:  # never made by us: a kernel without it has to say so
            setting.write(limit)
    return folders


def _removed(folder: Path) -> None:
    """Remove it as soon as the last process in it is gone."""
    for _ in range(50):
        if not folder.exists():  # one folder may have both names
            return
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.1)
