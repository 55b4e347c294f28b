"""Type of a machine of AWS or Google Cloud -> its vCPUs and GPUs, which a cluster file may leave out and Ray fills in at ``ray up`` only."""

import re

_GPU_FAMILIES = {
    "g5": "A10G",
    "g6": "L4",
    "g6e": "L40S",
    "p4d": "A100",
    "p4de": "A100",
    "p5": "H100",
    "p5e": "H200",
    "p5en": "H200",
    "g2-standard": "L4",
    "a2-highgpu": "A100",
    "a2-ultragpu": "A100",
    "a3-highgpu": "H100",
    "a3-megagpu": "H100",
    "a3-ultragpu": "H200",
}
"""Family of machines -> type of its GPUs, from the pages of the two clouds."""
_GPU_COUNTS = {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8}
"""GPUs of the sizes of g5, g6 and g6e; smaller sizes have one."""
_G2_COUNTS = {24: 2, 48: 4, 96: 8}
"""GPUs of the sizes of g2-standard by vCPUs; other sizes have one."""


def gpu_type(machine_type: str) -> str:
    """Type of the GPUs of a machine: ``A10G``; empty for a machine without GPUs, and for an unknown family."""
    return _GPU_FAMILIES.get(_family(machine_type), "")


def resources_of(machine_type: str) -> dict[str, float]:
    """CPUs (vCPUs) and GPUs by Ray's resource names; empty where the name says too little."""
    if match := re.fullmatch(r"[\w-]+\.(\d*)(x?large|medium)", machine_type):
        vcpus = 4.0 * int(match[1] or 1) if match[2] == "xlarge" else 2.0 if match[2] == "large" else 1.0
    elif match := re.fullmatch(r"\w+-(?:standard|highmem|highcpu)-(\d+)", machine_type):
        vcpus = float(match[1])
    else:
        return {}
    gpus = _gpu_count(machine_type, vcpus) if gpu_type(machine_type) else 0
    return {"CPU": vcpus} | ({"GPU": float(gpus)} if gpus else {})


def _family(machine_type: str) -> str:
    family, dot, _ = machine_type.partition(".")
    return family if dot else machine_type.rpartition("-")[0]


def _gpu_count(machine_type: str, vcpus: float) -> int:
    family, _, size = machine_type.partition(".")
    if not size:
        return _G2_COUNTS.get(int(vcpus), 1)
    if family.startswith("p"):
        return 1 if size == "4xlarge" else 8
    return _GPU_COUNTS.get(size, 1)
