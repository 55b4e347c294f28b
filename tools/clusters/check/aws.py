"""AWS cluster file -> what EC2 and Ray's AWS bootstrap would reject, without any network.

The bootstrap runs unchanged against EC2 and IAM mocked by ``moto`` in this process.
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

from abaw_ray.cluster.machines.capacity import ON_DEMAND
from abaw_ray.cluster.machines.machine_types import gpu_type
from tools.clusters.check.rules import node_types


@functools.cache
def _instance_types() -> dict[str, dict]:
    """Return the descriptions of EC2's instance types by name, from moto's copy of Amazon's list."""
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    return dict(INSTANCE_TYPES)


@functools.cache
def _ec2() -> tuple[object, list[str]]:
    """Return botocore's model of the RunInstances request, and the regions."""
    import botocore.session

    session = botocore.session.get_session()
    return session.get_service_model("ec2").operation_model("RunInstances").input_shape, session.get_available_regions("ec2")


def check_launch_request(config: dict) -> Iterator[str]:
    """Yield what EC2's RunInstances would reject; Ray's schema does not cover ``node_config``."""
    from botocore.validate import ParamValidator

    shape, regions = _ec2()
    region = config["provider"].get("region")
    if region not in regions:
        yield f"provider.region: {region} is not an AWS region; write for example us-west-2"
    for zone in (config["provider"].get("availability_zone") or "").replace(" ", "").split(","):
        if zone and not zone.startswith(str(region)):
            yield f"provider.availability_zone: {zone} is not in {region}; name zones of that region"
    for where, _, node, _ in node_types(config):
        if node.get("InstanceType") not in _instance_types():
            yield f"{where}.node_config.InstanceType: {node.get('InstanceType')} is not an instance type; write for example m7i.4xlarge"
        request = {"MinCount": 1, "MaxCount": 1} | {key: value for key, value in node.items() if key != "SubnetIds"}
        report = ParamValidator().validate(request, shape)
        for line in report.generate_report().splitlines():
            yield f"{where}.node_config: {line}; see EC2's RunInstances"
    yield from _check_training_zone(config)


def _check_training_zone(config: dict) -> Iterator[str]:
    """Check that machines that train together are in one zone: traffic between zones would cost more than the machines."""
    zones = [zone for zone in (config["provider"].get("availability_zone") or "").replace(" ", "").split(",") if zone]
    if len(zones) == 1:
        return
    pools: dict[bool, list[tuple[str, dict, dict]]] = {False: [], True: []}
    for where, node, settings, _ in node_types(config):
        if gpu_type(settings.get("InstanceType") or "") and node.get("max_workers"):
            pools[ON_DEMAND.items() <= (node.get("labels") or {}).items()].append((where, node, settings))
    # On-demand machines take the place of spot machines, and train beside them where there may be several.
    several = sum(node["max_workers"] for _, node, _ in pools[False]) > 1
    for types in (pools[False] + (pools[True] if several else []), pools[True]):
        subnets = {subnet for _, _, settings in types for subnet in settings.get("SubnetIds") or ("any",)}
        if sum(node["max_workers"] for _, node, _ in types) > 1 and (len(subnets) != 1 or "any" in subnets):
            yield (
                f"{types[0][0]}.node_config.SubnetIds: machines that train together would be in several zones, and ranks exchange about a "
                f"gigabyte per step at 0.02 USD; name one subnet for {' and '.join(where.rpartition('.')[2] for where, *_ in types)}, or one zone in "
                "provider.availability_zone"
            )


@contextlib.contextmanager
def _mock_aws() -> Iterator[None]:
    """Mock EC2 and IAM in this process, use a temporary home for the key that Ray creates, and skip waiting."""
    from moto import mock_aws
    from ray.autoscaler._private.aws import node_provider, utils

    with contextlib.ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="check-cluster-"))
        stack.enter_context(mock.patch.dict(os.environ, HOME=home, AWS_EC2_METADATA_DISABLED="true", AWS_MAX_ATTEMPTS="1"))
        os.environ.pop("AWS_PROFILE", None)
        stack.enter_context(mock.patch("time.sleep"))
        stack.enter_context(mock.patch.object(node_provider, "list_ec2_instances", return_value=list(_instance_types().values())))
        stack.enter_context(mock_aws(config={"iam": {"load_aws_managed_policies": True}}))
        for cache in (utils.resource_cache, utils.client_cache):
            cache.cache_clear()
            stack.callback(cache.cache_clear)
        yield


def _create_resources(config: dict) -> None:
    """Create in the mock account each key pair and group that the file names, and replace the groups' ids.

    Subnets are removed from the file: Ray then chooses among those of the mock account.
    """
    import boto3

    ec2 = boto3.client("ec2", config["provider"]["region"])
    settings = [node for _, _, node, _ in node_types(config)]
    for name in {node["KeyName"] for node in settings if "KeyName" in node}:
        ec2.create_key_pair(KeyName=name)
    names = {group for node in settings for group in node["SecurityGroupIds"]}
    group_ids = {name: ec2.create_security_group(GroupName=name, Description=name)["GroupId"] for name in sorted(names)}
    for node in settings:
        node.pop("SubnetIds", None)
        node["SecurityGroupIds"] = [group_ids[group] for group in node["SecurityGroupIds"]]


def run_bootstrap(raw: dict) -> Iterator[str]:
    """Yield what Ray's validation and bootstrap find: rules between fields, key pair, subnets and zones, groups, image."""
    from ray.autoscaler._private import util
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.cli_logger import cli_logger

    cli_logger.configure(log_style="record", color_mode="false", verbosity=0)
    logging.getLogger("ray.autoscaler").setLevel(logging.WARNING)
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output), _mock_aws():
            config = AWSNodeProvider.fillout_available_node_types_resources(util.prepare_config(copy.deepcopy(raw)))
            util.validate_config(config)
            _create_resources(config)
            bootstrap_aws(config)
    except (Exception, SystemExit) as error:  # Ray raises many types; each is a problem of the file
        _, panic, reason = output.getvalue().rpartition("PANIC ")
        reason = reason.partition(" -- ")[2] if panic else str(error) or repr(error)
        yield f"ray up: {' '.join(reason.split())[:300]}; see Ray's cluster YAML reference"
