"""A cluster file's content in, our own objections out: Ray would start such a cluster, but it would be open, dear, or lost with one machine.

Each rule takes a file that Ray's schema accepts, with the scripts that its commands call written into them (``inlined``). What Ray and the
cloud themselves refuse is ``check_cluster.py``'s business.
"""

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path

KINDS = ("aws", "gcp", "local")
TYPES = "available_node_types"
_STARTS = ("head_start_ray_commands", "worker_start_ray_commands")
_COMMANDS = ("setup_commands", "head_setup_commands", "worker_setup_commands", *_STARTS)
_PATTERNS = {"ImageId": r"ami-([0-9a-f]{8}|[0-9a-f]{17})", "SecurityGroupIds": r"sg-([0-9a-f]{8}|[0-9a-f]{17})"}

Rule = Callable[[dict], Iterator[str]]


def inlined(config: dict) -> dict:
    """The file with each script that it mounts and a command calls written behind that command."""
    whole = copy.deepcopy(config)
    for key in _COMMANDS:
        if key in whole:
            whole[key] = ["\n".join([command, *_scripts(command, config.get("file_mounts") or {})]) for command in whole[key]]
    return whole


def _scripts(command: str, mounts: dict[str, str]) -> Iterator[str]:
    for target, local in mounts.items():
        for name in re.findall(re.escape(target) + r"(?:/([\w.-]+))?", command):
            path = Path(local).expanduser() / name
            if path.suffix == ".sh" and path.is_file():
                yield path.read_text()


def texts(value: object, where: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a nested value with the dotted path to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner, where)
    elif isinstance(value, str):
        yield where, value


def _starts(config: dict, key: str) -> str:
    """The commands of one kind of machine that start Ray, joined."""
    return " ; ".join(command for command in config.get(key) or [] if re.search(r"\bray start\b", command))


def nodes(config: dict) -> Iterator[tuple[str, dict, dict, bool]]:
    """Each node type: where it stands, itself, its ``node_config``, whether it is the head's."""
    for name, node in config.get(TYPES, {}).items():
        yield f"{TYPES}.{name}", node, node["node_config"], name == config["head_node_type"]


def spot(settings: dict) -> bool:
    """Whether a machine is bought at the price of those that may be taken back."""
    aws = (settings.get("InstanceMarketOptions") or {}).get("MarketType") == "spot"
    return aws or (settings.get("scheduling") or {}).get("provisioningModel") == "SPOT"


def closed(config: dict) -> Iterator[str]:
    """Nobody but the owner reaches the cluster: a job is code that runs as we do."""
    for where, text in texts(config):
        if "0.0.0.0" in text or "::/0" in text:
            yield f"{where}: is open to every address (0.0.0.0); use 127.0.0.1 and `ray dashboard`"
    if "--dashboard-host=127.0.0.1" not in _starts(config, _STARTS[0]):
        yield f"{_STARTS[0]}: the dashboard's address is not stated; add --dashboard-host=127.0.0.1 to `ray start`"
    for key in _STARTS:
        if "RAY_AUTH_MODE=token" not in _starts(config, key):
            yield f"{key}: starts Ray without a token; put `. ~/abaw_ray/node/environment.sh;` before `ray start`"
    if not any(target.endswith("/.ray/auth_token") for target in config.get("file_mounts") or {}):
        yield 'file_mounts: the token does not reach the machines; add "~/.ray/auth_token": "~/.ray/auth_token"'


def complete(config: dict) -> Iterator[str]:
    """What is left out is filled in by Ray with something that does not fit, such as a nightly build."""
    for key in ("setup_commands", "head_setup_commands", *_STARTS):
        if key not in config:
            yield f"{key}: is missing; state it ([] for none), the default does not fit"
    if not any("constraints.txt" in command for command in config.get("setup_commands") or []):
        yield "setup_commands: install without constraints.txt; the machines would not have the versions that were tested together"


def complete_aws(config: dict) -> Iterator[str]:
    """Likewise of AWS: an old image, an open group, workers without access."""
    for where, _, node, _ in nodes(config):
        for key, pattern in _PATTERNS.items():
            ids = node.get(key) or []
            for text in [ids] if isinstance(ids, str) else ids:
                if not re.fullmatch(pattern, str(text)):
                    yield f"{where}.node_config.{key}: {text} is no such id; it looks like {pattern.split('-')[0]}-0abc... with 17 hex digits"
            if not ids:
                yield f"{where}.node_config.{key}: is missing; state it, the default does not fit"
        if not set(node.get("IamInstanceProfile") or {}) & {"Arn", "Name"}:
            yield f"{where}.node_config.IamInstanceProfile: is missing; without a profile the machine cannot reach S3"


def complete_gcp(config: dict) -> Iterator[str]:
    """Likewise of Google Cloud: the default network lets everybody knock at port 22, workers have no account."""
    for where, _, node, head in nodes(config):
        if not node.get("networkInterfaces"):
            yield f"{where}.node_config.networkInterfaces: is missing; the default network is open, name your own subnetwork"
        if not head and not node.get("serviceAccounts"):
            yield f"{where}.node_config.serviceAccounts: is missing; without an account the machine cannot reach the bucket"
        if not any(disk.get("boot") and (disk.get("initializeParams") or {}).get("sourceImage") for disk in node.get("disks") or []):
            yield f"{where}.node_config.disks: no boot disk with a sourceImage; state the image"


def complete_local(config: dict) -> Iterator[str]:
    """Likewise of owned machines: all of them are meant."""
    workers = len(config["provider"].get("worker_ips") or [])
    for key in ("min_workers", "max_workers"):
        if config.get(key) != workers:
            yield f"{key}: is {config.get(key)}, but there are {workers} worker_ips; give the same number"
    if "RAY_enable_autoscaler_v2=0" not in _starts(config, _STARTS[0]):
        yield f"{_STARTS[0]}: the last worker would never start with Ray's new autoscaler; put RAY_enable_autoscaler_v2=0 before `ray start`"


def frugal(config: dict) -> Iterator[str]:
    """Costs end when the work ends, and workers are bought at the spot price."""
    key = {"aws": "InstanceMarketOptions", "gcp": "scheduling"}[config["provider"]["type"]]
    for where, node, settings, head in nodes(config):
        if head and settings.get(key):
            yield f"{where}.node_config.{key}: the head is bought on the spot market; it must stay, remove this"
        if not head and not spot(settings):
            yield f"{where}.node_config.{key}: is missing; workers may be lost, so buy them on the spot market"
        if not head and node.get("min_workers", 0) != 0:
            yield f"{where}.min_workers: {node['min_workers']} machines stay without work; set 0"
        if not head and "max_workers" not in node:
            yield f"{where}.max_workers: is missing; state how many machines this type may cost"
        if not head and (node.get("idle_timeout_s") or 60 * config.get("idle_timeout_minutes", 5)) > 3600:
            yield f"{where}.idle_timeout_s: idle machines stay for more than an hour; set 300 or so"
    if config["provider"].get("cache_stopped_nodes", True):
        yield "provider.cache_stopped_nodes: spot machines cannot be stopped; set it to false"


def warned(config: dict) -> Iterator[str]:
    """A spot machine tells Ray when it is taken back."""
    kind = config["provider"]["type"]
    if not any(f"spot_watch.py {kind}" in command for command in config.get(_STARTS[1]) or []):
        yield f"{_STARTS[1]}: nobody heeds the cloud's notice that it takes a machine back; start node/spot_watch.py {kind}"


def robust(config: dict) -> Iterator[str]:
    """A machine may vanish at any time, without a word; the head has other things to do than tasks."""
    for where, node, _, head in nodes(config):
        if head and node["resources"].get("CPU") != 0:
            yield f"{where}.resources: tasks would run beside the drivers and the cluster's state; set {{CPU: 0}}"
    for key in _STARTS:
        for name in ("RAY_grpc_client_keepalive_time_ms", "RAY_grpc_client_keepalive_timeout_ms"):
            if f"{name}=" not in _starts(config, key):
                yield f"{key}: a silently lost machine would hang its callers for 7 minutes; put {name}=10000 before `ray start`"
    if "--autoscaling-config=" not in _starts(config, _STARTS[0]):
        yield f"{_STARTS[0]}: no worker would ever start; add --autoscaling-config=~/ray_bootstrap_config.yaml to `ray start`"
    if "RAY_JOB_STOP_SIGNAL=SIGINT" not in _starts(config, _STARTS[0]):
        yield f"{_STARTS[0]}: a stopped job could not end its training cleanly; put RAY_JOB_STOP_SIGNAL=SIGINT before `ray start`"


def rules_of(kind: str) -> tuple[Rule, ...]:
    """The rules for one kind of cluster file; each yields one line a problem: where, what; what to do."""
    everywhere = (closed, complete, robust)
    return {
        "aws": (*everywhere, complete_aws, frugal, warned),
        "gcp": (*everywhere, complete_gcp, frugal, warned),
        "local": (*everywhere, complete_local),
    }[kind]
