"""The shipped cluster files pass Ray's checks and this project's; a file with one error is rejected with a line that names it."""

import copy
import os
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from cluster_files import HEAD, NODE, ROOT, WORKER, assert_change_is_rejected, node, shipped, swap

from tools.clusters.check.__main__ import main
from tools.clusters.check.files import check

pytestmark = pytest.mark.slow
FILES = ["cluster.yaml", "tools/clusters/gcp.yaml", "tools/clusters/local.yaml", "tools/clusters/kuberay.yaml"]


def unset(text: str) -> Callable[[dict], None]:
    """A function that removes a text from environment.sh in the working folder."""

    def modify(_: dict) -> None:
        path = Path(NODE) / "environment.sh"
        before = path.read_text()
        path.write_text(before.replace(text, ""))
        assert path.read_text() != before

    return modify


@pytest.mark.parametrize("name", FILES)
def test_a_shipped_file_passes_rays_checks_and_this_projects(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert check(ROOT / name) == []


def test_the_list_of_shipped_files_is_complete():
    assert {str(path.relative_to(ROOT)) for path in [ROOT / "cluster.yaml", *(ROOT / "tools/clusters").glob("*.yaml")]} == set(FILES)


def test_all_kinds_of_cluster_use_the_same_setup_scripts():
    files = [shipped(name) for name in FILES if "kuberay" not in name]
    for file in files:
        assert file["setup_commands"] == ["bash ~/abaw_ray/node/install.sh"]
        assert file["file_mounts"] == files[0]["file_mounts"]
        assert all(command.startswith(". ~/abaw_ray/node/environment.sh;") for key in (HEAD, WORKER) for command in file[key])
    docker = (ROOT / "tools/clusters/Dockerfile").read_text()
    assert "RUN bash node/install.sh" in docker and "BASH_ENV=/home/ray/abaw_ray/node/environment.sh" in docker
    copied = [name for line in docker.splitlines() if line.startswith("COPY") for name in line.split()[2:-1]]
    assert copied and all((ROOT / name).exists() for name in copied)


def test_the_check_restores_home_and_aws_variables(write_cluster_file):
    before = {name: text for name, text in os.environ.items() if name == "HOME" or name.startswith("AWS_")}
    config = shipped()
    config["auth"]["ssh_private_key"] = "~/.ssh/mine.pem"
    (problem,) = check(write_cluster_file(config))
    assert problem.startswith("ray up: `KeyName` missing")
    assert {name: text for name, text in os.environ.items() if name == "HOME" or name.startswith("AWS_")} == before


def test_ready_reports_placeholders_and_a_missing_token(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(ROOT)
    problems = check(ROOT / "cluster.yaml", ready=True)
    for text in ("ray get-auth-token --generate", "ami-0123456789abcdef0", "sg-0123456789abcdef0", "abaw-ray-head", "abaw-ray-worker"):
        assert any(text in line for line in problems), text
    assert len(problems) == 5


ERRORS = {
    "dashboard open to all": (swap(HEAD, "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0"), f"{HEAD}: is open to every address"),
    "no dashboard address": (swap(HEAD, "--dashboard-host=127.0.0.1", ""), f"{HEAD}: the dashboard's address is not set"),
    "no token on the head": (swap(HEAD, ". ~/abaw_ray/node/environment.sh;", ""), f"{HEAD}: starts Ray without a token"),
    "no token on the workers": (swap(WORKER, ". ~/abaw_ray/node/environment.sh;", ""), f"{WORKER}: starts Ray without a token"),
    "no token anywhere": (unset("RAY_AUTH_MODE=token"), f"{WORKER}: starts Ray without a token"),
    "token not mounted": (lambda c: c["file_mounts"].pop("~/.ray/auth_token"), "file_mounts: the machines do not get the token"),
    "no image": (lambda c: node("gpu_spot")(c)["node_config"].pop("ImageId"), "gpu_spot.node_config.ImageId: is missing"),
    "image by name": (
        lambda c: node("head")(c)["node_config"].update(ImageId="latest_dlami"),
        "head.node_config.ImageId: latest_dlami is not an id",
    ),
    "no group": (lambda c: node("cpu_spot")(c)["node_config"].pop("SecurityGroupIds"), "cpu_spot.node_config.SecurityGroupIds: is missing"),
    "worker without profile": (
        lambda c: node("cpu_spot")(c)["node_config"].pop("IamInstanceProfile"),
        "cpu_spot.node_config.IamInstanceProfile: is missing",
    ),
    "tasks on the head": (lambda c: node("head")(c).update(resources={"CPU": 4}), "head.resources: tasks would run on the head"),
    "spot head": (
        lambda c: node("head")(c)["node_config"].update(InstanceMarketOptions={"MarketType": "spot"}),
        "head.node_config.InstanceMarketOptions: the head is a spot machine",
    ),
    "on-demand workers": (
        lambda c: node("gpu_spot")(c)["node_config"].pop("InstanceMarketOptions"),
        "gpu_spot.node_config.InstanceMarketOptions",
    ),
    "on-demand workers beside the spot ones": (lambda c: node("gpu_on_demand")(c).pop("priority"), "gpu_on_demand.priority: is not below"),
    "spot workers labelled as on demand": (
        lambda c: node("gpu_on_demand")(c)["node_config"].update(InstanceMarketOptions={"MarketType": "spot"}),
        "gpu_on_demand.node_config.InstanceMarketOptions: its machines are labelled as on demand",
    ),
    "on-demand machines of a type that has no spot machines": (
        lambda c: [node("gpu_spot")(c).update(max_workers=0), node("gpu_on_demand")(c).update(max_workers=1)],
        "gpu_on_demand: no type has spot machines of g5.12xlarge",
    ),
    "no price on demand": (
        lambda c: c["provider"]["prices"]["usd_per_hour"].pop("g5.12xlarge on demand"),
        "no price for g5.12xlarge on demand of available_node_types.gpu_on_demand",
    ),
    "a disk without encryption": (
        lambda c: node("gpu_spot")(c)["node_config"].update(BlockDeviceMappings=[{"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 200}}]),
        "gpu_spot.node_config.BlockDeviceMappings: a disk is not encrypted; set Encrypted: true",
    ),
    "the image's own disk": (
        lambda c: node("gpu_spot")(c)["node_config"].pop("BlockDeviceMappings"),
        "gpu_spot.node_config.BlockDeviceMappings: a disk is not encrypted",
    ),
    "workers that never end": (lambda c: node("gpu_spot")(c).update(min_workers=1), "gpu_spot.min_workers: 1 machines stay"),
    "workers that end late": (lambda c: node("cpu_spot")(c).update(idle_timeout_s=86400), "cpu_spot.idle_timeout_s: idle machines stay"),
    "no limit on machines": (lambda c: node("cpu_spot")(c).pop("max_workers"), "cpu_spot.max_workers: is missing"),
    "stopped spot machines": (lambda c: c["provider"].pop("cache_stopped_nodes"), "provider.cache_stopped_nodes: spot machines cannot"),
    "no autoscaler": (swap(HEAD, "--autoscaling-config=~/ray_bootstrap_config.yaml", ""), f"{HEAD}: no worker would start"),
    "no keepalive": (unset("RAY_grpc_client_keepalive_time_ms=10000"), f"{WORKER}: calls to an unreachable machine"),
    "stop without SIGINT": (unset("RAY_JOB_STOP_SIGNAL=SIGINT"), f"{HEAD}: a stopped job could not end"),
    "unpinned versions": (swap("setup_commands", "node/install.sh", "install"), "setup_commands: no command uses constraints.txt"),
    "no set-up commands": (lambda c: c.pop("setup_commands"), "setup_commands: is missing"),
    "unknown key of Ray": (lambda c: node("cpu_spot")(c).update(idle_timeout=3), "available_node_types.cpu_spot: Additional properties"),
    "fractional limit": (lambda c: node("cpu_spot")(c).update(max_workers=1.5), "available_node_types.cpu_spot.max_workers: 1.5 is not"),
    "unknown key of EC2": (lambda c: node("cpu_spot")(c)["node_config"].update(InstanceTyp="x"), 'Unknown parameter in input: "InstanceTyp"'),
    "unknown instance type": (lambda c: node("head")(c)["node_config"].update(InstanceType="m7i.9xlarge"), "m7i.9xlarge is not an instance type"),
    "unknown region": (lambda c: c["provider"].update(region="us-west-9"), "provider.region: us-west-9 is not an AWS region"),
    "zone in another region": (lambda c: c["provider"].update(availability_zone="eu-west-1a"), "availability_zone: eu-west-1a is not in us-west-2"),
    "unknown head type": (lambda c: c.update(head_node_type="boss"), "head_node_type: boss is not one of"),
    "missing file": (lambda c: c["file_mounts"].update({"~/x": "gone.txt"}), "file_mounts: gone.txt not found"),
    "unsupported provider": (lambda c: c["provider"].update(type="azure"), "provider.type: is not one of aws, gcp, local"),
    "no prices": (lambda c: c["provider"].pop("prices"), "provider.prices: is missing"),
    "a type without a price": (lambda c: c["provider"]["prices"]["usd_per_hour"].pop("g5.12xlarge"), "no price for g5.12xlarge of available_node"),
    "a date that ray up cannot write": (lambda c: c["provider"]["prices"].update(date=date(2026, 11, 29)), "date: 2026-11-29 is not text"),
    "no date": (lambda c: c["provider"]["prices"].update(date="November"), "provider.prices.date: November is not a date"),
    "training machines in several zones": (
        lambda c: [node("gpu_spot")(c).update(max_workers=4), node("gpu_spot")(c)["node_config"].update(InstanceType="g5.2xlarge")],
        "gpu_spot.node_config.SubnetIds: machines that train together would be in several zones",
    ),
    "training machines of two types in several zones": (
        lambda c: c["available_node_types"].update(second=copy.deepcopy(node("gpu_spot")(c))),
        "gigabyte per step at 0.02 USD; name one subnet for gpu_spot and second, or one zone",
    ),
    "no head watch": (swap(WORKER, "head_watch.py", "x.py"), f"{WORKER}: a lost head leaves its workers running"),
    "stopped workers": (lambda c: node("gpu_spot")(c)["node_config"].pop("InstanceInitiatedShutdownBehavior"), "gpu_spot.node_config.InstanceInit"),
    "no spot watch": (swap(WORKER, "spot_watch.py aws", ""), f"{WORKER}: spot interruption notices are ignored"),
}
LOCAL_ERRORS = {
    "machine not counted": (lambda c: c["provider"]["worker_ips"].append("192.0.2.9"), "min_workers: is 2, but there are 3"),
    "v2 autoscaler": (swap(HEAD, "RAY_enable_autoscaler_v2=0", ""), "the last worker never starts"),
    "no head": (lambda c: c["provider"].pop("head_ip"), "ray up: "),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_file_with_an_error_is_rejected_with_a_line_that_names_it(write_cluster_file, name):
    assert_change_is_rejected(write_cluster_file, "cluster.yaml", ERRORS[name])


@pytest.mark.parametrize("name", LOCAL_ERRORS)
def test_a_file_with_an_error_for_machines_of_ones_own_is_rejected(write_cluster_file, name):
    assert_change_is_rejected(write_cluster_file, "tools/clusters/local.yaml", LOCAL_ERRORS[name])


def test_errors_that_only_rays_bootstrap_finds_are_reported(write_cluster_file):
    config = shipped()
    config["provider"]["availability_zone"] = "us-west-2z"
    (problem,) = check(write_cluster_file(config))
    assert problem.startswith("ray up: No usable subnets")


def test_the_command_prints_one_line_per_problem_and_fails(write_cluster_file, monkeypatch, capsys):
    config = shipped()
    del config["available_node_types"]["head"]["node_config"]["ImageId"]
    config["provider"]["region"] = "us-west-9"
    path = write_cluster_file(config)
    monkeypatch.setattr(sys, "argv", ["check", str(path)])
    assert main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith(f"BAD  {path}: ") for line in lines)


def test_invalid_yaml_is_one_problem_without_a_traceback(tmp_path):
    path = tmp_path / "cluster.yaml"
    path.write_text("provider: [")
    (problem,) = check(path)
    assert problem.startswith("file: ")
