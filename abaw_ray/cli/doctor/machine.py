"""CPUs, memory, disks and GPU of this machine, within the limits of its container."""

import os
import re
import shutil
import warnings
from pathlib import Path

import psutil

from abaw_ray.cli.doctor.checks import Check
from abaw_ray.core.storage.filesystems import is_remote

_GIB = 2**30
MIN_MEMORY_GB = 2.0
"""GiB of available memory without which nothing runs: Python with torch needs 0.6, a decoding child up to 2. Ours."""
GOOD_MEMORY_GB = 6.0
"""GiB that a worker with ViT-L/14 in float32 needs, and decoding beside it. Ours."""
MIN_DISK_GB = 1.0
"""GiB of free disk without which nothing runs. Ours."""
MIN_SHM_GB = 0.4
"""GiB of /dev/shm that a local Ray needs at the default ``compute.object_store_mb``, with a margin. Ours."""
_CGROUPS = Path("/sys/fs/cgroup")
_NVIDIA = Path("/proc/driver/nvidia/version")


def cpus() -> Check:
    """Number of CPUs that this process may use."""
    allowed = len(os.sched_getaffinity(0))
    usable = min(allowed, cpu_quota())
    found = f"{usable:g} CPUs" + (f", a limit of the container; the machine has {os.cpu_count()}" if usable < (os.cpu_count() or 0) else "")
    return Check(name="CPU", found=found, values={"cpus": usable, "machine": os.cpu_count()})


def memory() -> Check:
    """Memory that this process may use."""
    machine = psutil.virtual_memory()
    limit = min(machine.total, memory_limit())
    total, free = limit / _GIB, min(machine.available, limit) / _GIB
    found = f"{free:.1f} GiB available of {total:.1f}" + (", a limit of the container" if limit < machine.total else "")
    values = {"total_gb": round(total, 2), "available_gb": round(free, 2)}
    if free < MIN_MEMORY_GB:
        return Check(name="memory", status="problem", found=found, remedy=f"free or give it at least {MIN_MEMORY_GB:g} GiB", values=values)
    if free < GOOD_MEMORY_GB:
        remedy = f"the paper's encoder needs {GOOD_MEMORY_GB:g} GiB per worker; use fewer workers or a smaller model"
        return Check(name="memory", status="note", found=found, remedy=remedy, values=values)
    return Check(name="memory", found=found, values=values)


def disks(output: str) -> list[Check]:
    """Free space where results go, of temporary files, and of shared memory."""
    checks = [_disk("output", Path(output.removeprefix("file://")).absolute(), "choose another folder with -o")] if not is_remote(output) else []
    checks.append(_disk("/tmp", Path("/tmp"), "free space there: Ray and downloads use it"))
    free = shutil.disk_usage("/dev/shm").free / _GIB if Path("/dev/shm").is_dir() else 0.0
    values = {"free_gb": round(free, 2)}
    if free < MIN_SHM_GB:
        remedy = "Ray uses /tmp instead, which is slower; start the container with --shm-size=1g"
        return [*checks, Check(name="/dev/shm", status="note", found=f"{free:.2f} GiB free", remedy=remedy, values=values)]
    return [*checks, Check(name="/dev/shm", found=f"{free:.1f} GiB free", values=values)]


def _disk(name: str, path: Path, remedy: str) -> Check:
    """Free space of the file system of a folder that may not exist yet, and whether it can be written."""
    folder = next(parent for parent in (path, *path.parents) if parent.exists())
    free = shutil.disk_usage(folder).free / _GIB
    values = {"path": str(path), "free_gb": round(free, 2)}
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return Check(name=name, status="problem", found=f"{folder} is no folder that can be written", remedy=remedy, values=values)
    status = "problem" if free < MIN_DISK_GB else "ok"
    return Check(name=name, status=status, found=f"{free:.1f} GiB free in {path}", remedy=remedy if status == "problem" else "", values=values)


def gpu() -> Check:
    """The GPUs that torch can use."""
    driver = nvidia_driver()
    try:
        import torch
    except Exception as error:  # a library that is missing or broken raises anything
        reason = " ".join(str(error).split())[:160]
        return Check(name="torch", status="problem", found=f"cannot be imported: {reason}", remedy="install it again, for this system", values={})
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    values = {"cuda": torch.version.cuda, "driver": driver, "gpus": []}
    if not available:
        reason = " ".join(str(raised[0].message).split())[:160] if raised else f"torch was built for CUDA {torch.version.cuda}"
        found = f"torch cannot use it, although driver {driver} is loaded: {reason}" if driver else "none; everything runs on the CPU"
        remedy = "install a driver for that version of CUDA, or start the container with --gpus all" if driver else ""
        return Check(name="GPU", status="note", found=found, remedy=remedy, values=values)
    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    values["gpus"] = [{"name": device.name, "memory_gb": round(device.total_memory / _GIB, 1)} for device in devices]
    names = ", ".join(f"{one['name']} with {one['memory_gb']:g} GiB" for one in values["gpus"])
    return Check(name="GPU", found=f"{names}; driver {driver or 'unknown'}, CUDA {torch.version.cuda}", values=values)


def nvidia_driver(version_file: Path = _NVIDIA) -> str:
    """Version of the loaded NVIDIA driver, or empty."""
    match = re.search(r"NVRM version:.*?\s(\d+\.\d+[\d.]*)", version_file.read_text()) if version_file.is_file() else None
    return match[1] if match else ""


def cpu_quota(root: Path = _CGROUPS, membership: str | None = None) -> float:
    """Number of CPUs that the control groups of this process allow (versions 1 and 2); infinite without a limit."""
    limits = [float("inf")]
    for folder in _own_groups("cpu", root, membership):
        if (file := folder / "cpu.max").is_file():
            quota, period = file.read_text().split()
            limits += [int(quota) / int(period)] if quota != "max" else []
        elif (file := folder / "cpu.cfs_quota_us").is_file() and (quota := int(file.read_text())) > 0:
            limits.append(quota / int((folder / "cpu.cfs_period_us").read_text()))
    return min(limits)


def memory_limit(root: Path = _CGROUPS, membership: str | None = None) -> float:
    """Bytes that the control groups of this process allow (versions 1 and 2); infinite without a limit."""
    limits = [float("inf")]
    for folder in _own_groups("memory", root, membership):
        for name in ("memory.max", "memory.limit_in_bytes"):
            if (file := folder / name).is_file() and (text := file.read_text().strip()) != "max":
                limits.append(int(text))
    return min(limits)


def _own_groups(controller: str, root: Path, membership: str | None) -> list[Path]:
    """Folders of the control groups of this process and of their parents, of version 2 and of one controller of version 1."""
    lines = (Path("/proc/self/cgroup").read_text() if membership is None else membership).split("\n")
    folders = []
    for line in filter(None, lines):
        _, names, path = line.split(":", 2)
        top = root if not names else root / controller
        if not names or controller in names.split(","):
            own = top / path.lstrip("/")
            folders += [own, *(parent for parent in own.parents if parent.is_relative_to(top))]
    return folders
