"""A Google Cloud cluster file with one error is rejected with a line that names it."""

import copy
from collections.abc import Callable

import pytest
from cluster_files import WORKER, assert_change_is_rejected, node, swap

pytestmark = pytest.mark.slow


def gcp_node(kind: str, **values: object) -> Callable[[dict], None]:
    """A function that sets keys of the ``node_config`` of one node type."""
    return lambda config: node(kind)(config)["node_config"].update(values)


def scheduling(kind: str, **values: object) -> Callable[[dict], None]:
    """A function that sets keys of the scheduling of one node type on Google Cloud."""
    return lambda config: node(kind)(config)["node_config"]["scheduling"].update(values)


def disk(kind: str, **values: object) -> Callable[[dict], None]:
    """A function that sets keys of the boot disk of one node type on Google Cloud; None removes a key."""

    def modify(config: dict) -> None:
        settings = node(kind)(config)["node_config"]
        settings["disks"] = copy.deepcopy(settings["disks"])  # the node types share one value
        params = settings["disks"][0]["initializeParams"]
        params.update(values)
        for key in [key for key, value in values.items() if value is None]:
            del params[key]

    return modify


ERRORS = {
    "unknown key of Google": (lambda c: node("cpu_spot")(c)["node_config"].update(machineTyp="x"), "node_config.machineTyp: is unknown"),
    "unknown key of a disk": (
        lambda c: node("cpu_spot")(c)["node_config"]["disks"][0]["initializeParams"].update(diskSize=3),
        "disks.initializeParams.diskSize: is unknown",
    ),
    "unknown provisioning model": (
        lambda c: node("gpu_spot")(c)["node_config"]["scheduling"].update(provisioningModel="CHEAP"),
        "provisioningModel: CHEAP is not one of",
    ),
    "default network": (lambda c: node("head")(c)["node_config"].pop("networkInterfaces"), "networkInterfaces: is missing; name your own"),
    "no account": (lambda c: node("gpu_spot")(c)["node_config"].pop("serviceAccounts"), "serviceAccounts: is missing"),
    "zone in another region": (lambda c: c["provider"].update(availability_zone="europe-west4-a"), "europe-west4-a is not in us-central1"),
    "no spot scheduling": (lambda c: node("cpu_spot")(c)["node_config"].pop("scheduling"), "node_config.scheduling: is missing"),
    "spot watch of another provider": (swap(WORKER, "spot_watch.py gcp", "spot_watch.py aws"), "spot interruption notices are ignored"),
    "hard disk with G2": (disk("gpu_spot", diskType="zones/us-central1-a/diskTypes/pd-standard"), "pd-standard cannot be used with G2"),
    "hard disk": (disk("head", diskType="zones/us-central1-a/diskTypes/pd-standard"), "disks.diskType: pd-standard is a hard disk"),
    "default disk": (disk("gpu_spot", diskType=None), "gpu_spot.node_config.disks.diskType: is missing"),
    "disk of another zone": (
        disk("head", diskType="zones/us-east1-b/diskTypes/pd-balanced"),
        "zones/us-east1-b/diskTypes/pd-balanced is not a disk type of us-central1-a",
    ),
    "disk type without zone": (disk("head", diskType="pd-balanced"), "pd-balanced is not a disk type of us-central1-a"),
    "image family": (disk("head", sourceImage="projects/x/global/images/family/y"), "projects/x/global/images/family/y is a family"),
    "unknown size of G2": (gcp_node("gpu_spot", machineType="g2-standard-10"), "g2-standard-10 is not a machine type"),
    "other number of CPUs": (gcp_node("cpu_spot", machineType="n2-standard-8"), "n2-standard-8 has 8 CPU, but resources says 16"),
    "other number of GPUs": (gcp_node("gpu_spot", machineType="g2-standard-24"), "g2-standard-24 has 2 GPU, but resources says 4"),
    "no memory": (
        lambda c: node("cpu_spot")(c)["resources"].pop("memory"),
        "memory in resources is missing: every worker requests memory, so Ray would never start this type; write 70 % of the",
    ),
    "more memory than the machine has": (
        lambda c: node("gpu_spot")(c)["resources"].update(memory=2 * 10**11 * 2),
        "memory in resources is out of range",
    ),
    "GPUs on a machine without any": (
        gcp_node("cpu_spot", guestAccelerators=[{"acceleratorType": "nvidia-l4", "acceleratorCount": 1}]),
        "guestAccelerators: n2-standard-16 takes no further GPUs",
    ),
    "spot machines that restart": (scheduling("cpu_spot", automaticRestart=True), "scheduling.automaticRestart: is not false"),
    "spot machines that stop": (scheduling("cpu_spot", instanceTerminationAction="STOP"), "instanceTerminationAction: is not DELETE"),
    "GPU machines that move": (scheduling("gpu_spot", onHostMaintenance="MIGRATE"), "scheduling.onHostMaintenance: is not TERMINATE"),
    "account without a scope": (
        lambda c: node("cpu_spot")(c)["node_config"]["serviceAccounts"][0].update(scopes=["https://www.googleapis.com/auth/logging.write"]),
        "serviceAccounts.scopes: do not include writing to a bucket",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_file_with_an_error_for_google_cloud_is_rejected(write_cluster_file, name):
    assert_change_is_rejected(write_cluster_file, "tools/clusters/gcp.yaml", ERRORS[name])
