"""A KubeRay file with one error is rejected with a line that names it."""

import pytest
from cluster_files import assert_change_is_rejected

pytestmark = pytest.mark.slow


def cluster(config: dict) -> dict:
    return config["spec"]["rayClusterSpec"]


def resize(config: dict, group: int, **amounts: str) -> None:
    resources = cluster(config)["workerGroupSpecs"][group]["template"]["spec"]["containers"][0]["resources"]
    for kind in ("requests", "limits"):
        resources[kind].update(amounts)


ERRORS = {
    "no token in pods": (lambda c: cluster(c).pop("authOptions"), "authOptions.mode: is not token"),
    "unknown key of KubeRay": (lambda c: c["spec"].update(ttlSeconds=3), "spec.ttlSeconds: is unknown"),
    "pods that stay": (lambda c: cluster(c)["workerGroupSpecs"][1].update(minReplicas=1), "gpu.minReplicas: pods stay"),
    "other Ray version": (lambda c: cluster(c).update(rayVersion="2.61.0"), "rayVersion: is 2.61.0, but the image has 2.60"),
    "no job": (lambda c: c["spec"].update(entrypoint="python train.py"), "spec.entrypoint: python train.py starts none of jobs/"),
    "pods too small for a rank": (lambda c: resize(c, 1, memory="16Gi"), "compute.training needs 4 workers with 4 CPU + 1 GPU + 8 GB each"),
    "pods too few for the workers": (lambda c: cluster(c)["workerGroupSpecs"][0].update(maxReplicas=7), "the pods have room for 105"),
    "pods too small to read the features": (
        lambda c: (resize(c, 0, memory="12Gi"), resize(c, 1, memory="18Gi")),
        "reading all features needs 10.24 GB beside the object store, and no pod has so much",
    ),
    "pods without room for the features": (
        lambda c: cluster(c)["workerGroupSpecs"][1].update(rayStartParams={}),
        "workerGroupSpecs.gpu: the object store has 9.0 GB, and all features need 9.3 GB",
    ),
    "misspelled option of the job": (
        lambda c: c["spec"].update(entrypoint=c["spec"]["entrypoint"].replace("--data.rafdb", "--data.rafbd")),
        "spec.entrypoint: unknown option --data.rafbd",
    ),
    "image without version": (
        lambda c: cluster(c)["headGroupSpec"]["template"]["spec"]["containers"][0].update(image="abaw-ray"),
        "image: abaw-ray has no version",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_file_with_an_error_for_kubernetes_is_rejected(write_cluster_file, name):
    assert_change_is_rejected(write_cluster_file, "tools/clusters/kuberay.yaml", ERRORS[name])
