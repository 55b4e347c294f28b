"""The shipped cluster file passes Ray's own checks and ours; a file with one thing spoilt is refused with a line that names it."""

import copy
import importlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[1]
HEAD, WORKER = "head_start_ray_commands", "worker_start_ray_commands"


@pytest.fixture(scope="module")
def checker() -> ModuleType:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return importlib.import_module("check_cluster")
    finally:
        sys.path.remove(str(ROOT / "tools"))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[dict], Path]:
    """Writes a cluster file into a folder that holds what the shipped one mounts."""
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)

    def dump(config: dict) -> Path:
        path = tmp_path / "cluster.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    return dump


def shipped() -> dict:
    return copy.deepcopy(yaml.safe_load((ROOT / "cluster.yaml").read_text()))


def swap(key: str, old: str, new: str) -> Callable[[dict], None]:
    """Replace a text in every command of a list."""

    def spoil(config: dict) -> None:
        before = config[key]
        config[key] = [command.replace(old, new) for command in before]
        assert config[key] != before

    return spoil


def node(kind: str) -> Callable[[dict], dict]:
    return lambda config: config["available_node_types"][kind]


def test_the_shipped_file_passes_ray_schema_its_bootstrap_and_our_rules(checker):
    assert checker.check(ROOT / "cluster.yaml") == []


def test_the_check_leaves_no_home_and_no_key_of_its_own_behind(checker, write):
    before = {name: text for name, text in os.environ.items() if name == "HOME" or name.startswith("AWS_")}
    config = shipped()
    config["auth"]["ssh_private_key"] = "~/.ssh/mine.pem"
    (problem,) = checker.check(write(config))
    assert problem.startswith("ray up: `KeyName` missing")
    assert {name: text for name, text in os.environ.items() if name == "HOME" or name.startswith("AWS_")} == before


def test_the_shipped_file_shows_its_placeholders_and_a_missing_token_when_asked_whether_it_is_ready(checker, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    problems = checker.check(ROOT / "cluster.yaml", ready=True)
    for text in ("ray get-auth-token --generate", "ami-0123456789abcdef0", "sg-0123456789abcdef0", "abaw-ray-head", "abaw-ray-worker"):
        assert any(text in line for line in problems), text
    assert len(problems) == 5


SPOILT = {
    "a dashboard open to all": (swap(HEAD, "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0"), f"{HEAD}: is open to every address"),
    "a dashboard at Ray's choice": (swap(HEAD, "--dashboard-host=127.0.0.1", ""), f"{HEAD}: the dashboard's address is not stated"),
    "no token on the head": (swap(HEAD, "RAY_AUTH_MODE=token", ""), f"{HEAD}: starts Ray without a token"),
    "no token on the workers": (swap(WORKER, "RAY_AUTH_MODE=token", ""), f"{WORKER}: starts Ray without a token"),
    "a token that stays at home": (lambda c: c["file_mounts"].pop("~/.ray/auth_token"), "file_mounts: the token does not reach"),
    "no image": (lambda c: node("gpu_spot")(c)["node_config"].pop("ImageId"), "gpu_spot.node_config.ImageId: is missing"),
    "an image by name": (
        lambda c: node("head")(c)["node_config"].update(ImageId="latest_dlami"),
        "head.node_config.ImageId: latest_dlami is no such id",
    ),
    "no group": (lambda c: node("cpu_spot")(c)["node_config"].pop("SecurityGroupIds"), "cpu_spot.node_config.SecurityGroupIds: is missing"),
    "a worker without S3": (
        lambda c: node("cpu_spot")(c)["node_config"].pop("IamInstanceProfile"),
        "cpu_spot.node_config.IamInstanceProfile: is missing",
    ),
    "tasks on the head": (lambda c: node("head")(c).update(resources={"CPU": 4}), "head.resources: tasks would run beside the drivers"),
    "a head that may vanish": (
        lambda c: node("head")(c)["node_config"].update(InstanceMarketOptions={"MarketType": "spot"}),
        "head.node_config.InstanceMarketOptions: the head is bought on the spot market",
    ),
    "workers at full price": (
        lambda c: node("gpu_spot")(c)["node_config"].pop("InstanceMarketOptions"),
        "gpu_spot.node_config.InstanceMarketOptions",
    ),
    "workers that never leave": (lambda c: node("gpu_spot")(c).update(min_workers=1), "gpu_spot.min_workers: 1 machines stay"),
    "workers that leave late": (lambda c: node("cpu_spot")(c).update(idle_timeout_s=86400), "cpu_spot.idle_timeout_s: idle machines stay"),
    "no limit of machines": (lambda c: node("cpu_spot")(c).pop("max_workers"), "cpu_spot.max_workers: is missing"),
    "spot machines to be stopped": (lambda c: c["provider"].pop("cache_stopped_nodes"), "provider.cache_stopped_nodes: spot machines cannot"),
    "no autoscaler": (swap(HEAD, "--autoscaling-config=~/ray_bootstrap_config.yaml", ""), f"{HEAD}: no worker would ever start"),
    "a lost machine unnoticed": (swap(WORKER, "RAY_grpc_client_keepalive_time_ms=10000", ""), f"{WORKER}: a silently lost machine"),
    "a job that dies at once": (swap(HEAD, "RAY_JOB_STOP_SIGNAL=SIGINT", ""), f"{HEAD}: a stopped job could not end"),
    "versions of the day": (swap("setup_commands", "--constraint constraints.txt", ""), "setup_commands: install without constraints.txt"),
    "Ray's nightly build": (lambda c: c.pop("setup_commands"), "setup_commands: is missing"),
    "a key Ray does not know": (lambda c: node("cpu_spot")(c).update(idle_timeout=3), "available_node_types.cpu_spot: Additional properties"),
    "half a machine": (lambda c: node("cpu_spot")(c).update(max_workers=1.5), "available_node_types.cpu_spot.max_workers: 1.5 is not"),
    "a key EC2 does not know": (lambda c: node("cpu_spot")(c)["node_config"].update(InstanceTyp="x"), 'Unknown parameter in input: "InstanceTyp"'),
    "a machine that is not made": (lambda c: node("head")(c)["node_config"].update(InstanceType="m7i.9xlarge"), "m7i.9xlarge is no instance type"),
    "a region that is none": (lambda c: c["provider"].update(region="us-west-9"), "provider.region: us-west-9 is no region"),
    "a zone elsewhere": (lambda c: c["provider"].update(availability_zone="eu-west-1a"), "availability_zone: eu-west-1a is not in us-west-2"),
    "a head of no type": (lambda c: c.update(head_node_type="boss"), "head_node_type: boss is not one of"),
    "a file that is not there": (lambda c: c["file_mounts"].update({"~/x": "gone.txt"}), "file_mounts: gone.txt is not here"),
    "another cloud": (lambda c: c["provider"].update(type="gcp"), "provider.type: is not aws"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_file_is_refused_with_a_line_that_names_what_is_wrong(checker, write, name):
    spoil, expected = SPOILT[name]
    config = shipped()
    spoil(config)
    problems = checker.check(write(config))
    assert any(expected in line for line in problems), problems
    assert all("\n" not in line for line in problems)


def test_what_only_rays_own_bootstrap_finds_is_refused_too(checker, write):
    config = shipped()
    config["provider"]["availability_zone"] = "us-west-2z"
    (problem,) = checker.check(write(config))
    assert problem.startswith("ray up: No usable subnets")


def test_the_command_prints_one_line_a_problem_and_fails(checker, write, monkeypatch, capsys):
    config = shipped()
    del config["available_node_types"]["head"]["node_config"]["ImageId"]
    config["provider"]["region"] = "us-west-9"
    path = write(config)
    monkeypatch.setattr(sys, "argv", ["check_cluster.py", str(path)])
    assert checker.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith(f"BAD  {path}: ") for line in lines)


def test_a_file_that_is_no_yaml_is_refused_without_a_traceback(checker, tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text("provider: [")
    (problem,) = checker.check(path)
    assert problem.startswith("file: ")
