"""An AWS cluster file's content in, what EC2 and Ray's AWS bootstrap would refuse out; without any network.

The bootstrap runs unchanged against an EC2 and IAM that ``moto`` plays inside this process.
"""

import contextlib
import copy
import functools
import io
import logging
import os
import tempfile
from collections.abc import Iterator
from unittest import mock

from tools.clusters.check.rules import nodes


@functools.cache
def _instance_types() -> dict[str, dict]:
    """Name -> description of EC2's instance types, from moto's copy of Amazon's list."""
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    return dict(INSTANCE_TYPES)


@functools.cache
def _ec2() -> tuple[object, list[str]]:
    """Botocore's model of the call that starts machines, and the regions."""
    import botocore.session

    session = botocore.session.get_session()
    return session.get_service_model("ec2").operation_model("RunInstances").input_shape, session.get_available_regions("ec2")


def launches(config: dict) -> Iterator[str]:
    """What EC2's launch call would refuse; Ray's schema does not look into ``node_config``."""
    from botocore.validate import ParamValidator

    shape, regions = _ec2()
    region = config["provider"].get("region")
    if region not in regions:
        yield f"provider.region: {region} is no region of AWS; write for example us-west-2"
    for zone in (config["provider"].get("availability_zone") or "").replace(" ", "").split(","):
        if zone and not zone.startswith(str(region)):
            yield f"provider.availability_zone: {zone} is not in {region}; name zones of that region"
    for where, _, node, _ in nodes(config):
        if node.get("InstanceType") not in _instance_types():
            yield f"{where}.node_config.InstanceType: {node.get('InstanceType')} is no instance type; write for example m7i.4xlarge"
        call = {"MinCount": 1, "MaxCount": 1} | {key: value for key, value in node.items() if key != "SubnetIds"}
        report = ParamValidator().validate(call, shape)
        for line in report.generate_report().splitlines():
            yield f"{where}.node_config: {line}; see EC2's RunInstances"


@contextlib.contextmanager
def _played_aws() -> Iterator[None]:
    """An EC2 and IAM inside this process, a scratch home for the key Ray makes, no waiting."""
    from moto import mock_aws
    from ray.autoscaler._private.aws import config, node_provider, utils

    with contextlib.ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="check-cluster-"))
        stack.enter_context(mock.patch.dict(os.environ, HOME=home, AWS_EC2_METADATA_DISABLED="true", AWS_MAX_ATTEMPTS="1"))
        os.environ.pop("AWS_PROFILE", None)
        stack.enter_context(mock.patch.object(config.time, "sleep"))
        stack.enter_context(mock.patch.object(node_provider, "list_ec2_instances", return_value=list(_instance_types().values())))
        stack.enter_context(mock_aws(config={"iam": {"load_aws_managed_policies": True}}))
        for cache in (utils.resource_cache, utils.client_cache):
            cache.cache_clear()
            stack.callback(cache.cache_clear)
        yield


def _own_things(config: dict) -> None:
    """Make the played account own a key and a group for each that the file names, and put the group's id in its place.

    Subnets that the file names are left to Ray's choice among the account's own.
    """
    import boto3

    ec2 = boto3.client("ec2", config["provider"]["region"])
    settings = [node for _, _, node, _ in nodes(config)]
    for name in {node["KeyName"] for node in settings if "KeyName" in node}:
        ec2.create_key_pair(KeyName=name)
    names = {group for node in settings for group in node["SecurityGroupIds"]}
    made = {name: ec2.create_security_group(GroupName=name, Description=name)["GroupId"] for name in sorted(names)}
    for node in settings:
        node.pop("SubnetIds", None)
        node["SecurityGroupIds"] = [made[group] for group in node["SecurityGroupIds"]]


def bootstrap(raw: dict) -> Iterator[str]:
    """What Ray's own checks and its bootstrap say: rules between fields, key pair, subnets and zones, groups, image."""
    from ray.autoscaler._private import util
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.cli_logger import cli_logger

    cli_logger.configure(log_style="record", color_mode="false", verbosity=0)
    logging.getLogger("ray.autoscaler").setLevel(logging.WARNING)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), _played_aws():
            config = AWSNodeProvider.fillout_available_node_types_resources(util.prepare_config(copy.deepcopy(raw)))
            util.validate_config(config)
            _own_things(config)
            bootstrap_aws(config)
    except (Exception, SystemExit) as error:  # whatever Ray raises is the answer to the question
        _, panic, reason = said.getvalue().rpartition("PANIC ")
        reason = reason.partition(" -- ")[2] if panic else str(error) or repr(error)
        yield f"ray up: {' '.join(reason.split())[:300]}; see Ray's cluster YAML reference"
