"""Cluster files in, problems out: what ``ray up`` would find out minutes later, and what it never would, without any network.

    python tools/check_cluster.py cluster.yaml             the file itself
    python tools/check_cluster.py --ready cluster.yaml     also this machine: keys, token, no placeholder left

Ray's own defaults, schema and AWS bootstrap run unchanged, the bootstrap against an EC2 and IAM that ``moto`` plays inside this process.
Our own rules (``cluster_rules.py``) come on top.
It cannot tell whether the ids exist, whether the account's quotas suffice, or what the roles allow. AWS only.
"""

import argparse
import contextlib
import copy
import functools
import io
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import yaml
from cluster_rules import RULES, TYPES, nodes, texts

_PLACEHOLDERS = ("0123456789abcdef0", "123456789012")


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


def here(config: dict, path: Path, *, ready: bool) -> Iterator[str]:
    """Files that ``ray up`` reads on this machine; with ``ready`` also those of its owner, and ids nobody replaced."""
    for local in (config.get("file_mounts") or {}).values():
        own = local.startswith(("~", "/"))
        if (ready or not own) and not (path.parent / Path(local).expanduser()).exists():
            todo = "make it with `ray get-auth-token --generate`" if local.endswith("auth_token") else "start `ray up` where it is"
            yield f"file_mounts: {local} is not here; {todo}"
    key = (config.get("auth") or {}).get("ssh_private_key")
    if ready and key and not Path(key).expanduser().exists():
        yield f"auth.ssh_private_key: {key} is not here; leave it out and Ray makes one"
    places = {text: where for where, text in texts(config) if any(placeholder in text for placeholder in _PLACEHOLDERS)}
    for text, where in places.items() if ready else ():
        yield f"{where}: {text} is still the placeholder; put your own id"


def _schema_problems(config: dict) -> Iterator[str]:
    import jsonschema
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    for error in jsonschema.validators.validator_for(schema)(schema).iter_errors(config):
        yield f"{'.'.join(map(str, error.absolute_path)) or 'file'}: {error.message[:200]}; see Ray's cluster YAML reference"


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


def _bootstrap(raw: dict) -> Iterator[str]:
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


def check(path: Path, *, ready: bool = False) -> list[str]:
    """All problems of one file, one line each; empty where ``ray up`` would go on to start machines."""
    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        return [f"file: {' '.join(str(error).split())}; mend it first"]
    if not isinstance(raw, dict) or (raw.get("provider") or {}).get("type") != "aws":
        return ["provider.type: is not aws; this check knows AWS only"]
    for key in (TYPES, "head_node_type", "max_workers"):
        if key not in raw:
            return [f"{key}: is missing; state it, the default does not fit"]
    problems = list(_schema_problems(raw))
    if not problems and raw["head_node_type"] not in raw[TYPES]:
        problems = [f"head_node_type: {raw['head_node_type']} is not one of {TYPES}; name one of {', '.join(raw[TYPES])}"]
    if not problems:
        problems = [line for rule in (*RULES, launches) for line in rule(raw)] + list(here(raw, path, ready=ready))
    return problems or list(_bootstrap(raw))


def main() -> int:
    """Check every file given; 1 where one of them has a problem."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--ready", action="store_true", help="check this machine and the ids too, right before `ray up`")
    options = parser.parse_args()
    failed = 0
    for path in options.files:
        problems = check(path, ready=options.ready)
        print("\n".join(f"BAD  {path}: {line}" for line in problems) or f"OK   {path}")
        failed |= bool(problems)
    return failed


if __name__ == "__main__":
    sys.exit(main())
