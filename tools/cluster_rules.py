"""A cluster file's content in, our own objections out: Ray would start such a cluster, but it would be open, dear, or lost with one machine.

Each rule takes a file that Ray's schema accepts. What Ray and EC2 themselves refuse is ``check_cluster.py``'s business.
"""

import re
from collections.abc import Iterator

_PATTERNS = {"ImageId": r"ami-([0-9a-f]{8}|[0-9a-f]{17})", "SecurityGroupIds": r"sg-([0-9a-f]{8}|[0-9a-f]{17})"}
TYPES = "available_node_types"
_STARTS = ("head_start_ray_commands", "worker_start_ray_commands")


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
    for name, node in config[TYPES].items():
        yield f"{TYPES}.{name}", node, node["node_config"], name == config["head_node_type"]


def closed(config: dict) -> Iterator[str]:
    """Nobody but the owner reaches the cluster: a job is code that runs as we do."""
    for where, text in texts(config):
        if "0.0.0.0" in text or "::/0" in text:
            yield f"{where}: is open to every address (0.0.0.0); use 127.0.0.1 and `ray dashboard`"
    if "--dashboard-host=127.0.0.1" not in _starts(config, _STARTS[0]):
        yield f"{_STARTS[0]}: the dashboard's address is not stated; add --dashboard-host=127.0.0.1 to `ray start`"
    for key in _STARTS:
        if "RAY_AUTH_MODE=token" not in _starts(config, key):
            yield f"{key}: starts Ray without a token; put RAY_AUTH_MODE=token before `ray start`"
    if not any(target.endswith("/.ray/auth_token") for target in config.get("file_mounts") or {}):
        yield 'file_mounts: the token does not reach the machines; add "~/.ray/auth_token": "~/.ray/auth_token"'


def complete(config: dict) -> Iterator[str]:
    """What is left out is filled in by Ray with something that does not fit: an old image, an open group, a nightly build."""
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
    for key in ("setup_commands", "head_setup_commands", *_STARTS):
        if key not in config:
            yield f"{key}: is missing; state it ([] for none), the default does not fit"
    if not any("constraints.txt" in command for command in config.get("setup_commands") or []):
        yield "setup_commands: install without constraints.txt; the machines would not have the versions that were tested together"


def frugal(config: dict) -> Iterator[str]:
    """Costs end when the work ends, and workers are bought at the spot price."""
    for where, node, settings, head in nodes(config):
        market = (settings.get("InstanceMarketOptions") or {}).get("MarketType")
        if head and market:
            yield f"{where}.node_config.InstanceMarketOptions: the head is bought on the spot market; it must stay, remove this"
        if not head and market != "spot":
            yield f"{where}.node_config.InstanceMarketOptions: is missing; workers may be lost, so buy them with MarketType: spot"
        if not head and node.get("min_workers", 0) != 0:
            yield f"{where}.min_workers: {node['min_workers']} machines stay without work; set 0"
        if not head and "max_workers" not in node:
            yield f"{where}.max_workers: is missing; state how many machines this type may cost"
        if not head and (node.get("idle_timeout_s") or 60 * config.get("idle_timeout_minutes", 5)) > 3600:
            yield f"{where}.idle_timeout_s: idle machines stay for more than an hour; set 300 or so"
    if config["provider"].get("cache_stopped_nodes", True):
        yield "provider.cache_stopped_nodes: spot machines cannot be stopped; set it to false"


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


RULES = (closed, complete, frugal, robust)
"""Our own rules; each takes a file that Ray's schema accepts and yields one line a problem: where, what; what to do."""
