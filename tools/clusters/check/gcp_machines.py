"""Google Cloud cluster file -> combinations of machine type, GPUs, disks, scheduling and account that Compute Engine rejects, or that cost or fail.

The API's description (``gcp.py``) has no rules between fields. These are from Google's documentation of machine series, disks and spot machines.
"""

import re
from collections.abc import Iterator

from tools.clusters.check.rules import is_spot, node_types

_L4 = {4: 1, 8: 1, 12: 1, 16: 1, 24: 2, 32: 1, 48: 4, 96: 8}
"""vCPUs of a G2 machine type -> its L4 GPUs."""
_GIB_PER_VCPU = {"n1-standard": 3.75, "n2-standard": 4, "n2-highmem": 8, "n2-highcpu": 1, "n2d-standard": 4, "e2-standard": 4, "g2-standard": 4}
"""Memory of some kinds of machines in GiB per vCPU."""
_SCOPES = {f"https://www.googleapis.com/auth/{name}" for name in ("cloud-platform", "devstorage.read_write", "devstorage.full_control")}
"""Scopes with which a machine may write to a bucket."""


def check_machines(config: dict) -> Iterator[str]:
    """Yield the problems of each node type."""
    zone = config["provider"].get("availability_zone")
    for where, node, settings, head in node_types(config):
        where, machine = f"{where}.node_config", str(settings.get("machineType"))
        yield from _check_type(where, machine, settings, node["resources"], head=head)
        for disk in settings.get("disks") or []:
            yield from _check_disk(f"{where}.disks", machine, disk.get("initializeParams") or {}, zone)
        yield from _check_scheduling(f"{where}.scheduling", settings, has_gpus=_gpus(machine, settings) > 0)
        for account in settings.get("serviceAccounts") or []:
            if not _SCOPES & set(account.get("scopes") or []):
                yield f"{where}.serviceAccounts.scopes: do not include writing to a bucket; add https://www.googleapis.com/auth/cloud-platform"


def _series(machine: str) -> str:
    return machine.split("-", 1)[0]


def _vcpus(machine: str) -> int:
    """Return the number in a name like ``n2-standard-16``; 0 where the name has none."""
    match = re.fullmatch(r"[a-z0-9]+-[a-z]+-(\d+)", machine)
    return int(match[1]) if match else 0


def _gpus(machine: str, settings: dict) -> int:
    if _series(machine) == "g2":
        return _L4.get(_vcpus(machine), 0)
    return sum(card.get("acceleratorCount", 0) for card in settings.get("guestAccelerators") or [])


def _check_type(where: str, machine: str, settings: dict, resources: dict, *, head: bool) -> Iterator[str]:
    """Compare the machine type with its GPUs, and with the resources by which Ray counts."""
    if _series(machine) == "g2" and _vcpus(machine) not in _L4:
        yield f"{where}.machineType: {machine} is not a machine type; write for example g2-standard-8"
        return
    if settings.get("guestAccelerators") and _series(machine) != "n1":
        yield f"{where}.guestAccelerators: {machine} takes no further GPUs; use an n1 type, or g2 without guestAccelerators"
    for name, real in (("CPU", _vcpus(machine)), ("GPU", _gpus(machine, settings))):
        counted = resources.get(name, 0)
        if not head and counted != real and (real or name == "GPU"):
            yield f"{where}.machineType: {machine} has {real} {name}, but resources says {counted:g}; write the same number"
    total = _GIB_PER_VCPU.get(machine.rpartition("-")[0], 0) * _vcpus(machine) * 2**30
    if not head and not 0 < resources.get("memory", 0) <= (total or float("inf")):
        problem = "is missing: every worker requests memory, so Ray would never start this type" if "memory" not in resources else "is out of range"
        yield f"{where}.machineType: memory in resources {problem}; write 70 % of the machine's in bytes" + f", {0.7 * total:.0f}" * bool(total)


def _check_disk(where: str, machine: str, disk: dict, zone: str | None) -> Iterator[str]:
    """Check type and image of a disk. Google encrypts every disk; no setting is needed."""
    kind = str(disk.get("diskType", ""))
    name = kind.rpartition("/")[2]
    if not re.search(rf"(^|/)zones/{zone}/diskTypes/[a-z0-9-]+$", kind):
        written = f"{kind} is not a disk type of {zone}" if kind else "is missing; the default is a hard disk, or depends on the machine series"
        yield f"{where}.diskType: {written}; write zones/{zone}/diskTypes/pd-balanced"
    elif name == "pd-standard":
        problem = "cannot be used with G2" if _series(machine) == "g2" else "is a hard disk, on which the installation takes long"
        yield f"{where}.diskType: pd-standard {problem}; write zones/{zone}/diskTypes/pd-balanced"
    if "/family/" in str(disk.get("sourceImage")):
        yield f"{where}.sourceImage: {disk['sourceImage']} is a family, whose newest image changes; name one image"


def _check_scheduling(where: str, settings: dict, *, has_gpus: bool) -> Iterator[str]:
    scheduling = settings.get("scheduling") or {}
    if is_spot(settings):
        if scheduling.get("automaticRestart", True):
            yield f"{where}.automaticRestart: is not false; Google never restarts a spot machine"
        if scheduling.get("instanceTerminationAction") != "DELETE":
            yield f"{where}.instanceTerminationAction: is not DELETE; the disks of stopped machines would cost money"
    if (has_gpus or is_spot(settings)) and scheduling.get("onHostMaintenance") != "TERMINATE":
        yield f"{where}.onHostMaintenance: is not TERMINATE; machines with GPUs and spot machines cannot be moved"
