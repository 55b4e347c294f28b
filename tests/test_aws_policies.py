"""The IAM policies of the set-up are consistent with the cluster file and with each other, and protect the sources in the bucket."""

import json
from fnmatch import fnmatchcase
from pathlib import Path

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count
from ray.autoscaler.tags import TAG_RAY_CLUSTER_NAME

ROOT = Path(__file__).parents[1]
CLUSTER = yaml.safe_load((ROOT / "cluster.yaml").read_text())
WORKERS = {name: kind["node_config"] for name, kind in CLUSTER["available_node_types"].items() if name != "head"}


def policy(name: str) -> list[dict]:
    return json.loads((ROOT / f"tools/clusters/aws/{name}.json").read_text())["Statement"]


def listed(value) -> list:
    return value if isinstance(value, list) else [value]


def statements(name: str, action: str) -> list[dict]:
    return [statement for statement in policy(name) if any(fnmatchcase(action, pattern) for pattern in listed(statement["Action"]))]


def test_the_head_has_the_workers_permissions_and_may_pass_their_role():
    head, worker = policy("head"), policy("worker")
    (role,) = [statement["Resource"] for statement in head if statement["Action"] == "iam:PassRole"]
    assert [statement for statement in worker if statement not in head] == []
    profiles = {settings["IamInstanceProfile"]["Arn"].rpartition("/")[2] for settings in WORKERS.values()}
    assert profiles == {role.rpartition("/")[2]}


def test_the_head_may_start_only_the_types_of_the_cluster_file_in_its_region_with_its_tag():
    instance, other = statements("head", "ec2:RunInstances")
    assert instance["Condition"]["StringEquals"] == {
        "ec2:InstanceType": list(dict.fromkeys(settings["InstanceType"] for settings in WORKERS.values())),
        f"aws:RequestTag/{TAG_RAY_CLUSTER_NAME}": CLUSTER["cluster_name"],
    }
    resources = [*listed(instance["Resource"]), *other["Resource"]]
    assert {arn.split(":")[3] for arn in resources} == {CLUSTER["provider"]["region"]}
    assert [arn for arn in resources if ":instance/" in arn] == [instance["Resource"]]


def test_the_head_may_tag_and_terminate_only_machines_of_its_cluster():
    of_cluster = {"StringEquals": {f"aws:ResourceTag/{TAG_RAY_CLUSTER_NAME}": CLUSTER["cluster_name"]}}
    new = {"StringEquals": {"ec2:CreateAction": "RunInstances"}}
    assert [statement["Condition"] for statement in statements("head", "ec2:TerminateInstances")] == [of_cluster]
    assert [statement["Condition"] for statement in statements("head", "ec2:CreateTags")] == [new, of_cluster]


def test_no_statement_without_a_condition_allows_more_than_to_describe_machines():
    free = [statement["Action"] for statement in policy("head") if statement["Resource"] == "*" and "Condition" not in statement]
    assert free == ["ec2:Describe*"]


@pytest.mark.parametrize("name", ["head", "worker"])
def test_the_set_up_replaces_bucket_and_region_which_occur_at_most_once_per_line(name):
    lines = (ROOT / f"tools/clusters/aws/{name}.json").read_text().splitlines()
    assert max(line.count("your-bucket") for line in lines) == 1 >= max(line.count("us-west-2") for line in lines)
    command = 'sed "s/your-bucket/$bucket/; s/us-west-2/$AWS_DEFAULT_REGION/" \\\n    tools/clusters/aws/$role.json'
    assert command in (ROOT / "docs/operations.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md", "cluster.yaml"])
def test_the_commands_write_where_the_roles_may_write(page):
    text = (ROOT / page).read_text()
    assert "--storage s3://your-bucket/results/" in text
    assert text.count("--storage s3://your-bucket/") == text.count("--storage s3://your-bucket/results/")


@pytest.fixture
def bucket_of():
    """Return a function that gives the bucket as a client with one of the policies sees it."""

    @set_initial_no_auth_action_count(6)
    @mock_aws
    def run(name, work):
        iam, s3 = boto3.client("iam", "us-west-2"), boto3.client("s3", "us-west-2")
        s3.create_bucket(Bucket="your-bucket", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
        s3.put_object(Bucket="your-bucket", Key="affwild2/a.mp4", Body=b"video")
        s3.put_object(Bucket="your-bucket", Key="results/a/b.parquet", Body=b"rows")
        iam.create_user(UserName="machine")
        iam.put_user_policy(UserName="machine", PolicyName="abaw", PolicyDocument=(ROOT / f"tools/clusters/aws/{name}.json").read_text())
        key = iam.create_access_key(UserName="machine")["AccessKey"]
        work(boto3.client("s3", "us-west-2", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"]))

    return run


@pytest.mark.parametrize("name", ["head", "worker"])
def test_sources_can_be_read_and_not_changed_and_results_can_be_written(bucket_of, name):
    def work(s3):
        assert s3.get_object(Bucket="your-bucket", Key="affwild2/a.mp4")["Body"].read() == b"video"
        assert s3.list_objects_v2(Bucket="your-bucket")["KeyCount"] == 2
        s3.put_object(Bucket="your-bucket", Key="results/", Body=b"")
        s3.put_object(Bucket="your-bucket", Key="results/c", Body=b"")
        s3.delete_object(Bucket="your-bucket", Key="results/c")
        for refused in (
            lambda: s3.delete_object(Bucket="your-bucket", Key="affwild2/a.mp4"),
            lambda: s3.put_object(Bucket="your-bucket", Key="affwild2/a.mp4", Body=b""),
            lambda: s3.put_object(Bucket="your-bucket", Key="a", Body=b""),
            lambda: s3.delete_bucket(Bucket="your-bucket"),
        ):
            with pytest.raises(ClientError, match="AccessDenied"):
                refused()

    bucket_of(name, work)
