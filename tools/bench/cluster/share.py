"""Limits a namespace machine to a share of one CPU, so that machines on the same CPU do not slow one another.

Uses the kernel's control groups (root): in each period of 10 ms a machine gets its quota of CPU time, with priority over processes outside
such groups.
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
    """The control group of one machine's processes."""

    folders: tuple[Path, ...]
    """One folder; with version 1 of control groups one for the limits and one for the accounting."""
    cpu: int | None
    """Number of the CPU that the processes are pinned to; None: not pinned."""

    @property
    def command_prefix(self) -> tuple[str, ...]:
        """Return a command that runs its arguments, and all processes that they start, in the group."""
        enter = "".join(f"echo 0 > {folder}/cgroup.procs && " for folder in self.folders)
        return (*(() if self.cpu is None else ("taskset", "-c", str(self.cpu))), "sh", "-c", f'{enter}exec "$0" "$@"')

    def cpu_seconds(self) -> float:
        """Return the CPU time of all processes that have run in the group."""
        folder = self.folders[-1]
        if (folder / "cpuacct.usage").exists():
            return int((folder / "cpuacct.usage").read_text()) / 1e9
        lines = (line.split() for line in (folder / "cpu.stat").read_text().splitlines())
        return int(dict(lines)["usage_usec"]) / 1e6


@contextmanager
def cpu_group(name: str, cpu: int | None = None, share: float = 1, groups: Path = _GROUPS) -> Iterator[Group]:
    """Create a control group, and remove it at the end.

    Args:
        name: Name of the group. Its processes must have ended by the end of the context.
        cpu: Number of the CPU to pin to; None: not pinned.
        share: Share of a CPU that the group may use, above 0; 1 is no limit.
        groups: Mount point of the control groups.

    Raises:
        ConfigError: the kernel's control groups cannot be used.
    """
    try:
        group = Group(_create(groups, name, None if share >= 1 else round(share * _PERIOD_US)), cpu)
    except OSError as error:
        raise ConfigError(f"{groups}: control groups cannot be used here: {error}") from error
    try:
        yield group
    finally:
        for folder in group.folders:
            _remove(folder)


def _create(groups: Path, name: str, quota_us: int | None) -> tuple[Path, ...]:
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
        with os.fdopen(os.open(folders[0] / file, os.O_WRONLY), "w") as setting:  # without O_CREAT, so that a missing limit is an error
            setting.write(limit)
    return folders


def _remove(folder: Path) -> None:
    """Remove a group's folder after its last process has ended."""
    for _ in range(50):
        if not folder.exists():  # both folders may be the same
            return
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.1)
