"""The IAM policies of the set-up are consistent with the cluster file and with each other."""

import json
from pathlib import Path

import pytest
import yaml
from ray.autoscaler.tags import TAG_RAY_CLUSTER_NAME

ROOT = Path(__file__).parents[1]


def policy(name: str) -> list[dict]:
    return json.loads((ROOT / f"tools/clusters/aws/{name}.json").read_text())["Statement"]


def test_the_head_has_the_workers_permissions_and_may_pass_their_role():
    head, worker = policy("head"), policy("worker")
    (role,) = [statement["Resource"] for statement in head if statement["Action"] == "iam:PassRole"]
    assert [statement for statement in worker if statement not in head] == []
    kinds = yaml.safe_load((ROOT / "cluster.yaml").read_text())["available_node_types"]
    profiles = {kind["node_config"]["IamInstanceProfile"]["Arn"].rpartition("/")[2] for name, kind in kinds.items() if name != "head"}
    assert profiles == {role.rpartition("/")[2]}


def test_the_head_may_terminate_only_machines_of_its_cluster():
    (condition,) = [statement["Condition"] for statement in policy("head") if "ec2:TerminateInstances" in statement["Action"]]
    name = yaml.safe_load((ROOT / "cluster.yaml").read_text())["cluster_name"]
    assert condition == {"StringEquals": {f"aws:ResourceTag/{TAG_RAY_CLUSTER_NAME}": name}}


@pytest.mark.parametrize("name", ["head", "worker"])
def test_the_set_up_replaces_the_bucket_name_which_occurs_at_most_once_per_line(name):
    lines = (ROOT / f"tools/clusters/aws/{name}.json").read_text().splitlines()
    assert max(line.count("your-bucket") for line in lines) == 1
    assert "sed s/your-bucket/$bucket/ tools/clusters/aws/$role.json" in (ROOT / "docs/operations.md").read_text()
    buckets = [statement["Resource"] for statement in policy(name) if ":s3:::" in statement["Resource"]]
    assert buckets == ["arn:aws:s3:::your-bucket", "arn:aws:s3:::your-bucket/*"]
