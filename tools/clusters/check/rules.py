"""Rules for cluster files beyond those of Ray: access, cost and fault tolerance. Ray starts a cluster that breaks them.

Each rule takes the content of a file that Ray's schema accepts, with called scripts inlined (``inline_scripts``), and yields one line per
problem. ``files.py`` runs the rules and the checks of Ray and the cloud.
"""

import copy
import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

from abaw_ray.cluster.cost.prices import price_of
from abaw_ray.cluster.machines.capacity import is_on_demand, machine_type, priced_as

KINDS = ("aws", "gcp", "local")
TYPES = "available_node_types"
_STARTS = ("head_start_ray_commands", "worker_start_ray_commands")
_COMMANDS = ("setup_commands", "head_setup_commands", "worker_setup_commands", *_STARTS)
_PATTERNS = {"ImageId": r"ami-([0-9a-f]{8}|[0-9a-f]{17})", "SecurityGroupIds": r"sg-([0-9a-f]{8}|[0-9a-f]{17})"}

Rule = Callable[[dict], Iterator[str]]


def inline_scripts(config: dict) -> dict:
    """Return a copy in which the text of each mounted script follows the command that calls it."""
    inlined = copy.deepcopy(config)
    for key in _COMMANDS:
        if key in inlined:
            inlined[key] = ["\n".join([command, *_scripts(command, config.get("file_mounts") or {})]) for command in inlined[key]]
    return inlined


def _scripts(command: str, mounts: dict[str, str]) -> Iterator[str]:
    for target, local in mounts.items():
        for name in re.findall(re.escape(target) + r"(?:/([\w.-]+))?", command):
            path = Path(local).expanduser() / name
            if path.suffix == ".sh" and path.is_file():
                yield path.read_text()


def strings(value: object, where: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted path and the text of every string in a nested value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from strings(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner, where)
    elif isinstance(value, str):
        yield where, value


def _start_commands(config: dict, key: str) -> str:
    """Return the commands under ``key`` that start Ray, joined."""
    return " ; ".join(command for command in config.get(key) or [] if re.search(r"\bray start\b", command))


def node_types(config: dict) -> Iterator[tuple[str, dict, dict, bool]]:
    """Yield each node type: its path in the file, its settings, its ``node_config``, and whether it is the head's."""
    for name, node in config.get(TYPES, {}).items():
        yield f"{TYPES}.{name}", node, node["node_config"], name == config["head_node_type"]


def is_spot(settings: dict) -> bool:
    """Return whether the node type uses spot machines."""
    aws = (settings.get("InstanceMarketOptions") or {}).get("MarketType") == "spot"
    return aws or (settings.get("scheduling") or {}).get("provisioningModel") == "SPOT"


def check_access(config: dict) -> Iterator[str]:
    """Check that only the owner can reach the cluster: a submitted job runs arbitrary code."""
    for where, text in strings(config):
        if "0.0.0.0" in text or "::/0" in text:
            yield f"{where}: is open to every address (0.0.0.0); use 127.0.0.1 and `ray dashboard`"
    if "--dashboard-host=127.0.0.1" not in _start_commands(config, _STARTS[0]):
        yield f"{_STARTS[0]}: the dashboard's address is not set; add --dashboard-host=127.0.0.1 to `ray start`"
    for key in _STARTS:
        if "RAY_AUTH_MODE=token" not in _start_commands(config, key):
            yield f"{key}: starts Ray without a token; put `. ~/abaw_ray/node/environment.sh;` before `ray start`"
    if not any(target.endswith("/.ray/auth_token") for target in config.get("file_mounts") or {}):
        yield 'file_mounts: the machines do not get the token; add "~/.ray/auth_token": "~/.ray/auth_token"'


def check_required(config: dict) -> Iterator[str]:
    """Check for keys whose defaults in Ray do not fit, such as a nightly build."""
    for key in ("setup_commands", "head_setup_commands", *_STARTS):
        if key not in config:
            yield f"{key}: is missing; set it ([] for none), Ray's default does not fit"
    if not any("constraints.txt" in command for command in config.get("setup_commands") or []):
        yield "setup_commands: no command uses constraints.txt; install the pinned versions"


def check_required_aws(config: dict) -> Iterator[str]:
    """Check for keys whose defaults on AWS are an old image, an open security group or no access to S3."""
    for where, _, node, _ in node_types(config):
        for key, pattern in _PATTERNS.items():
            ids = node.get(key) or []
            for text in [ids] if isinstance(ids, str) else ids:
                if not re.fullmatch(pattern, str(text)):
                    yield f"{where}.node_config.{key}: {text} is not an id; write one like {pattern.split('-')[0]}-0abc... with 17 hex digits"
            if not ids:
                yield f"{where}.node_config.{key}: is missing; set it, Ray's default does not fit"
        for disk in node.get("BlockDeviceMappings") or [{}]:
            if not (disk.get("Ebs") or {}).get("Encrypted"):
                yield f"{where}.node_config.BlockDeviceMappings: a disk is not encrypted; set Encrypted: true, it holds faces"
        if not set(node.get("IamInstanceProfile") or {}) & {"Arn", "Name"}:
            yield f"{where}.node_config.IamInstanceProfile: is missing; name a profile, without one the machine cannot access S3"


def check_required_gcp(config: dict) -> Iterator[str]:
    """Check for keys whose defaults on Google Cloud are a network with port 22 open to all, and workers without a service account."""
    for where, _, node, head in node_types(config):
        if not node.get("networkInterfaces"):
            yield f"{where}.node_config.networkInterfaces: is missing; name your own subnetwork, the default network is open"
        if not head and not node.get("serviceAccounts"):
            yield f"{where}.node_config.serviceAccounts: is missing; name an account, without one the machine cannot access the bucket"
        if not any(disk.get("boot") and (disk.get("initializeParams") or {}).get("sourceImage") for disk in node.get("disks") or []):
            yield f"{where}.node_config.disks: no boot disk has a sourceImage; name the image"


def check_required_local(config: dict) -> Iterator[str]:
    """Check that a local cluster uses all of its machines."""
    workers = len(config["provider"].get("worker_ips") or [])
    for key in ("min_workers", "max_workers"):
        if config.get(key) != workers:
            yield f"{key}: is {config.get(key)}, but there are {workers} worker_ips; set the same number"
    if "RAY_enable_autoscaler_v2=0" not in _start_commands(config, _STARTS[0]):
        yield f"{_STARTS[0]}: with Ray's v2 autoscaler the last worker never starts; put RAY_enable_autoscaler_v2=0 before `ray start`"


def check_costs(config: dict) -> Iterator[str]:
    """Check that workers are spot machines, or start on demand only after a wait for those, and end when they are idle."""
    key = {"aws": "InstanceMarketOptions", "gcp": "scheduling"}[config["provider"]["type"]]
    for where, node, settings, head in node_types(config):
        if head and settings.get(key):
            yield f"{where}.node_config.{key}: the head is a spot machine; remove this, the cluster ends with its head"
        if not head and not is_spot(settings) and not is_on_demand(node):
            yield f"{where}.node_config.{key}: is missing; use spot machines, the work of a lost one is repeated"
        if is_on_demand(node):
            yield from _check_on_demand(config, where, node, key)
        if not head and node.get("min_workers", 0) != 0:
            yield f"{where}.min_workers: {node['min_workers']} machines stay when idle; set 0"
        if not head and "max_workers" not in node:
            yield f"{where}.max_workers: is missing; set a limit on the machines of this type"
        if not head and (node.get("idle_timeout_s") or 60 * config.get("idle_timeout_minutes", 5)) > 3600:
            yield f"{where}.idle_timeout_s: idle machines stay for more than an hour; set about 300"
    if config["provider"].get("cache_stopped_nodes", True):
        yield "provider.cache_stopped_nodes: spot machines cannot be stopped; set it to false"


def _check_on_demand(config: dict, where: str, node: dict, key: str) -> Iterator[str]:
    if is_spot(node["node_config"]):
        yield f"{where}.node_config.{key}: its machines are labelled as on demand; remove this, or the label"
    if node.get("priority", 0) >= 0:
        yield f"{where}.priority: is not below that of the spot types; set -1, or its machines start in place of those"
    kind = machine_type(node)
    others = [other for _, other, settings, head in node_types(config) if not head and is_spot(settings) and other.get("max_workers")]
    if node.get("max_workers") and kind not in map(machine_type, others):
        yield f"{where}: no type has spot machines of {kind}; add one, jobs are sized by what fits on spot machines"


def check_prices(config: dict) -> Iterator[str]:
    """Check that every type of machine has a price, and that the prices have a date."""
    where, prices = "provider.prices", config["provider"].get("prices")
    if not isinstance(prices, dict) or not isinstance(prices.get("usd_per_hour"), dict):
        yield f"{where}: is missing; add date and usd_per_hour, without them neither plans nor records have costs"
        return
    day = prices.get("date")
    if not isinstance(day, str):
        yield f'{where}.date: {day} is not text; write it in quotes, "2026-11-29": `ray up` fails on a date'
    elif not _is_date(day):
        yield f'{where}.date: {day} is not a date; write it like "2026-11-29"'
    for kind, price in prices["usd_per_hour"].items():
        try:
            price_of(price)
        except ValueError as error:
            yield f"{where}.usd_per_hour.{kind}: {error}; write a number like 0.35"
    for node_type, node, _, _ in node_types(config):
        if priced_as(node) not in prices["usd_per_hour"]:
            yield f"{where}.usd_per_hour: no price for {priced_as(node)} of {node_type}; add it"


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def check_spot_watch(config: dict) -> Iterator[str]:
    """Check that spot machines drain their node on an interruption notice."""
    kind = config["provider"]["type"]
    if not any(f"spot_watch.py {kind}" in command for command in config.get(_STARTS[1]) or []):
        yield f"{_STARTS[1]}: spot interruption notices are ignored; start node/spot_watch.py {kind}"


def check_head_watch(config: dict) -> Iterator[str]:
    """Check that workers shut themselves down without a head, and that this ends paying for them."""
    if not any("head_watch.py $RAY_HEAD_IP:6379" in command for command in config.get(_STARTS[1]) or []):
        yield f"{_STARTS[1]}: a lost head leaves its workers running; start node/head_watch.py $RAY_HEAD_IP:6379"
    for where, _, node, head in node_types(config) if config["provider"]["type"] == "aws" else ():
        if not head and node.get("InstanceInitiatedShutdownBehavior") != "terminate":
            yield f"{where}.node_config.InstanceInitiatedShutdownBehavior: is not terminate; a machine that shuts itself down would only be stopped"


def check_fault_tolerance(config: dict) -> Iterator[str]:
    """Check that the cluster survives the sudden loss of a machine, and that the head runs no tasks."""
    for where, node, _, head in node_types(config):
        if head and node["resources"].get("CPU") != 0:
            yield f"{where}.resources: tasks would run on the head, beside the job drivers; set {{CPU: 0}}"
    for key in _STARTS:
        for name in ("RAY_grpc_client_keepalive_time_ms", "RAY_grpc_client_keepalive_timeout_ms"):
            if f"{name}=" not in _start_commands(config, key):
                yield f"{key}: calls to an unreachable machine would hang for 7 minutes; put {name}=10000 before `ray start`"
    if "--autoscaling-config=" not in _start_commands(config, _STARTS[0]):
        yield f"{_STARTS[0]}: no worker would start; add --autoscaling-config=~/ray_bootstrap_config.yaml to `ray start`"
    if "RAY_JOB_STOP_SIGNAL=SIGINT" not in _start_commands(config, _STARTS[0]):
        yield f"{_STARTS[0]}: a stopped job could not end its training cleanly; put RAY_JOB_STOP_SIGNAL=SIGINT before `ray start`"


def rules_for(kind: str) -> tuple[Rule, ...]:
    """Return the rules for a provider type. Each yields one line per problem: where, what; what to do."""
    common = (check_access, check_required, check_fault_tolerance)
    return {
        "aws": (*common, check_required_aws, check_costs, check_prices, check_spot_watch, check_head_watch),
        "gcp": (*common, check_required_gcp, check_costs, check_prices, check_spot_watch, check_head_watch),
        "local": (*common, check_required_local),
    }[kind]
