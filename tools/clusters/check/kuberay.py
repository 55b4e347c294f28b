"""KubeRay ``RayJob`` -> problems: keys that the operator ignores, and settings against access control, cost limits or fault tolerance."""

import re
from collections.abc import Iterator
from pathlib import Path

from tools.clusters.check.pods import check_sizes

_ROOT = Path(__file__).parents[3]
_JOB = {
    "entrypoint", "runtimeEnvYAML", "jobId", "submissionMode", "entrypointResources", "entrypointNumCpus", "entrypointNumGpus", "metadata",
    "clusterSelector", "submitterPodTemplate", "submitterConfig", "managedBy", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished",
    "shutdownAfterJobFinishes", "suspend", "deletionStrategy", "rayClusterSpec", "preRunningDeadlineSeconds",
}  # fmt: skip
_CLUSTER = {
    "authOptions", "suspend", "managedBy", "autoscalerOptions", "headServiceAnnotations", "enableInTreeAutoscaling", "gcsFaultToleranceOptions",
    "headGroupSpec", "rayVersion", "workerGroupSpecs", "upgradeStrategy",
}  # fmt: skip
_AUTOSCALER = {
    "resources", "image", "imagePullPolicy", "securityContext", "idleTimeoutSeconds", "upscalingMode", "version", "env", "envFrom", "volumeMounts",
}  # fmt: skip
_HEAD = {"template", "headService", "enableIngress", "resources", "labels", "rayStartParams", "serviceType"}
_WORKERS = {
    "suspend", "groupName", "replicas", "minReplicas", "maxReplicas", "idleTimeoutSeconds", "resources", "labels", "rayStartParams", "template",
    "scaleStrategy", "numOfHosts",
}  # fmt: skip


def check(config: dict) -> list[str]:
    """Return all problems of one file, one line each: where, what; what to do."""
    spec = config.get("spec") or {}
    cluster = spec.get("rayClusterSpec") or {}
    head, groups = cluster.get("headGroupSpec") or {}, cluster.get("workerGroupSpecs") or []
    levels = [("spec", spec, _JOB), ("spec.rayClusterSpec", cluster, _CLUSTER), ("spec.rayClusterSpec.headGroupSpec", head, _HEAD)]
    levels.append(("spec.rayClusterSpec.autoscalerOptions", cluster.get("autoscalerOptions") or {}, _AUTOSCALER))
    levels += [(f"spec.rayClusterSpec.workerGroupSpecs.{group.get('groupName')}", group, _WORKERS) for group in groups]
    unknown = [f"{where}.{key}: is unknown; see KubeRay's API reference" for where, mapping, known in levels for key in mapping if key not in known]
    workers = (line for group in groups for line in _check_workers(group))
    return [*unknown, *_check_job(spec), *_check_cluster(cluster), *workers, *check_sizes(spec)]


def _check_job(spec: dict) -> Iterator[str]:
    if not spec.get("shutdownAfterJobFinishes"):
        yield "spec.shutdownAfterJobFinishes: is not true; the machines would stay after the job"
    if not spec.get("activeDeadlineSeconds"):
        yield "spec.activeDeadlineSeconds: is missing; set it, a job that hangs would cost money indefinitely"
    job = re.search(r"jobs/(\w+)\.py (\w+)", spec.get("entrypoint") or "")
    if not job or not (_ROOT / "jobs" / f"{job[1]}.py").exists():
        yield f"spec.entrypoint: {spec.get('entrypoint')} starts none of jobs/; write `python /home/ray/abaw_ray/jobs/pipeline.py PRESET`"


def _check_cluster(cluster: dict) -> Iterator[str]:
    where = "spec.rayClusterSpec"
    pins = (_ROOT / "constraints.txt").read_text().splitlines()
    pinned = next(line.removeprefix("ray==") for line in pins if line.startswith("ray=="))
    if str(cluster.get("rayVersion")) != pinned:
        yield f"{where}.rayVersion: is {cluster.get('rayVersion')}, but the image has {pinned}"
    if (cluster.get("authOptions") or {}).get("mode") != "token":
        yield f"{where}.authOptions.mode: is not token; every pod in the Kubernetes cluster could run code here"
    if not cluster.get("enableInTreeAutoscaling"):
        yield f"{where}.enableInTreeAutoscaling: is not true; no worker would start or end"
    head = cluster.get("headGroupSpec") or {}
    if (head.get("rayStartParams") or {}).get("num-cpus") != "0":
        yield f'{where}.headGroupSpec.rayStartParams.num-cpus: is not "0"; tasks would run on the head, beside the job drivers'
    yield from _check_pod(head, f"{where}.headGroupSpec")


def _check_workers(group: dict) -> Iterator[str]:
    where = f"spec.rayClusterSpec.workerGroupSpecs.{group.get('groupName')}"
    if group.get("minReplicas") != 0 or group.get("replicas") != 0:
        yield f"{where}.minReplicas: pods stay when idle; set 0, and replicas too"
    if not group.get("maxReplicas"):
        yield f"{where}.maxReplicas: is missing; set a limit on the pods of this group"
    grace = ((group.get("template") or {}).get("spec") or {}).get("terminationGracePeriodSeconds", 30)
    if grace < 60:
        yield f"{where}.template.spec.terminationGracePeriodSeconds: {grace} s is too short to drain; set 90"
    yield from _check_pod(group, where)


def _check_pod(group: dict, where: str) -> Iterator[str]:
    pod = (group.get("template") or {}).get("spec") or {}
    if not pod.get("serviceAccountName"):
        yield f"{where}.template.spec.serviceAccountName: is missing; name one, without it the pod cannot access the bucket"
    for container in pod.get("containers") or [{}]:
        image, requests = str(container.get("image")), (container.get("resources") or {}).get("requests") or {}
        if ":" not in image.rsplit("/", 1)[-1] or image.endswith(":latest"):
            yield f"{where}.template.spec.containers.image: {image} has no version; add one, all pods must run the same image"
        if not {"cpu", "memory"} <= requests.keys():
            yield f"{where}.template.spec.containers.resources.requests: set cpu and memory; Ray counts the requested resources"
