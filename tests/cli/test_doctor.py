"""``abaw-ray doctor``: what it finds on this machine, on machines that lack something, and how it ends."""

import importlib.metadata
import json
import os
import shutil
import sys
import types
import warnings
from collections import namedtuple
from pathlib import Path

import psutil
import pytest
import timm.models
from av.codec.codec import UnknownCodecError

from abaw_ray.cli import main as entry
from abaw_ray.cli.doctor import installation, machine
from abaw_ray.cli.doctor.checks import Check, conclusion

GIB = 2**30
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def doctor(monkeypatch, capsys):
    """A function that runs the command; returns its exit code and what it printed."""

    def run(*args: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["abaw-ray", "doctor", *args])
        with pytest.raises(SystemExit) as ended:
            entry.main()
        return ended.value.code, capsys.readouterr().out

    return run


@pytest.fixture
def no_weights(monkeypatch, tmp_path):
    """Empty caches of weights."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("ABAW_RAY_CACHE", str(tmp_path / "cache"))


def test_this_machine_can_run_the_analysis_and_the_json_has_every_check(doctor, no_weights, tmp_path):
    code, printed = doctor("--json", "-o", str(tmp_path / "out"))
    report = json.loads(printed)
    assert code == 0 and report["ok"] and report["conclusion"].startswith("analysis can run here")
    checks = {check["name"]: check for check in report["checks"]}
    names = {"system", "packages", "CPU", "memory", "output", "/tmp", "/dev/shm", "GPU", "codecs", "credentials"}
    assert set(checks) == names | {"YuNet", "SFace", "DINOv2", "Wav2Vec 2.0"}
    assert checks["packages"]["values"]["versions"]["torch"] == importlib.metadata.version("torch")
    assert checks["output"]["values"]["path"] == str(tmp_path / "out") and not (tmp_path / "out").exists()
    assert all(check["remedy"] for check in report["checks"] if check["status"] == "problem")
    assert checks["YuNet"]["status"] == "note" and "--weights FILE" in checks["YuNet"]["remedy"]


def test_a_problem_is_exit_code_1_with_the_reason_and_a_remedy(doctor, no_weights, tmp_path):
    (tmp_path / "file").touch()
    code, printed = doctor("-o", str(tmp_path / "file/out"))
    assert code == 1
    assert "problem output" in printed and "-> choose another folder with -o" in printed
    assert printed.splitlines()[-1].startswith("analysis cannot run here, 1 problem") and "is no folder that can be written" in printed


def test_results_in_an_object_store_need_no_disk_for_them(doctor, no_weights):
    _, printed = doctor("--json", "-o", "s3://bucket/out")
    assert "output" not in {check["name"] for check in json.loads(printed)["checks"]}


def test_a_check_is_printed_in_columns_with_its_remedy_below():
    check = Check(name="memory", status="note", found="one two three four", remedy="five six seven", values={})
    assert check.lines(34) == [
        "note    memory      one two three",
        "                    four",
        "                    -> five six",
        "                       seven",
    ]
    assert conclusion([check]) == (True, "analysis can run here, 1 note")


@pytest.mark.parametrize(
    ("files", "membership", "cpus", "memory"),
    [
        ({"a/b/cpu.max": "150000 100000", "a/memory.max": "1000", "a/b/memory.max": "max", "a/cpu.max": "max 100000"}, "0::/a/b\n", 1.5, 1000),
        ({"cpu.max": "50000 100000", "memory.max": "7"}, "0::/\n", 0.5, 7),
        (
            {"cpu/x/cpu.cfs_quota_us": "300000", "cpu/x/cpu.cfs_period_us": "100000", "memory/memory.limit_in_bytes": "9", "cpu.max": "1 1"},
            "4:memory:/gone\n1:cpu,cpuacct:/x\n",
            3.0,
            9,
        ),
        ({"cpu/cpu.cfs_quota_us": "-1"}, "1:cpu:/\n", float("inf"), float("inf")),
        ({}, "", float("inf"), float("inf")),
    ],
)
def test_cpus_and_memory_are_those_of_the_container(files, membership, cpus, memory, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert machine.cpu_quota(tmp_path, membership) == cpus
    assert machine.memory_limit(tmp_path, membership) == memory


def test_a_limit_of_the_container_is_named(monkeypatch):
    monkeypatch.setattr(machine, "cpu_quota", lambda: 0.5)
    monkeypatch.setattr(machine, "memory_limit", lambda: 3 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(total=64 * GIB, available=60 * GIB))
    assert machine.cpus().found == f"0.5 CPUs, a limit of the container; the machine has {os.cpu_count()}"
    check = machine.memory()
    assert (check.status, check.found) == ("note", "3.0 GiB available of 3.0, a limit of the container")


@pytest.mark.parametrize(("available", "status"), [(1, "problem"), (4, "note"), (8, "ok")])
def test_too_little_memory_is_a_problem_and_little_memory_a_note(available, status, monkeypatch):
    monkeypatch.setattr(machine, "memory_limit", lambda: float("inf"))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(total=16 * GIB, available=available * GIB))
    check = machine.memory()
    assert check.status == status and bool(check.remedy) is (status != "ok")


def test_a_full_disk_is_a_problem_and_a_small_shared_memory_a_note(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100 * GIB, 0, 64 << 20))
    assert {check.name: check.status for check in machine.disks(str(tmp_path))} == {"output": "problem", "/tmp": "problem", "/dev/shm": "note"}
    assert "--shm-size" in machine.disks(str(tmp_path))[-1].remedy


def test_a_gpu_is_shown_with_its_memory_and_driver(monkeypatch):
    cuda = types.SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 2,
        get_device_properties=lambda index: types.SimpleNamespace(name=f"NVIDIA H{index}00", total_memory=80 * GIB),
    )
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda, version=types.SimpleNamespace(cuda="12.8")))
    monkeypatch.setattr(machine, "nvidia_driver", lambda: "570.124.06")
    check = machine.gpu()
    assert (check.status, check.found) == ("ok", "NVIDIA H000 with 80 GiB, NVIDIA H100 with 80 GiB; driver 570.124.06, CUDA 12.8")


def test_a_gpu_that_torch_cannot_use_is_a_note_with_the_reason(monkeypatch):
    def unavailable() -> bool:
        warnings.warn("The NVIDIA driver on your system is too old (found version 11000).", UserWarning, stacklevel=1)
        return False

    fake = types.SimpleNamespace(cuda=types.SimpleNamespace(is_available=unavailable), version=types.SimpleNamespace(cuda="12.8"))
    monkeypatch.setitem(sys.modules, "torch", fake)
    monkeypatch.setattr(machine, "nvidia_driver", lambda: "450.80.02")
    check = machine.gpu()
    assert check.status == "note" and "driver 450.80.02 is loaded: The NVIDIA driver on your system is too old" in check.found and check.remedy


def test_a_torch_that_cannot_be_imported_is_a_problem(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert (machine.gpu().name, machine.gpu().status) == ("torch", "problem")


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023", "535.104.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build", "570.124.06"),
        ("NVRM version: unknown", ""),
    ],
)
def test_the_driver_is_that_of_the_kernel_module(line, version, tmp_path):
    file = tmp_path / "version"
    file.write_text(f"{line}\nGCC version:  gcc version 12.3.0\n")
    assert machine.nvidia_driver(file) == version
    assert machine.nvidia_driver(tmp_path / "none") == ""


def test_missing_and_untested_packages_are_named_with_the_versions_to_install(monkeypatch):
    installed = {"torch": "2.12.0", "av": "18.1.0"}
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["torch==2.11.*", "av>=18,<19", "ray[data]==2.60.*", 'pytest; extra == "test"'])
    monkeypatch.setattr(installation, "_version", lambda name: installed.get(name, ""))
    check = installation.packages()
    assert check.status == "problem" and check.found == "ray is missing, torch 2.12.0 is not the tested ==2.11.*"
    assert check.remedy == "pip install 'ray==2.60.*' 'torch==2.11.*'"
    installed["ray"] = "2.60.0"
    assert installation.packages().status == "note"
    installed["torch"] = "2.11.0"
    assert installation.packages().found == "3 of 3 as tested: ray 2.60.0, torch 2.11.0, av 18.1.0"


def test_a_package_that_is_not_installed_is_a_note(monkeypatch):
    def requires(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    assert installation.packages().status == "note"


@pytest.mark.parametrize(("lacking", "status"), [(["h264"], "problem"), (["av1", "libx264"], "note"), ([], "ok")])
def test_a_missing_codec_is_named(lacking, status, monkeypatch):
    def codec(name: str, mode: str) -> str:
        if name in lacking:
            raise UnknownCodecError(name)
        return name

    monkeypatch.setattr("av.codec.Codec", codec)
    check = installation.codecs()
    assert check.status == status and all(name in check.found for name in lacking)
    assert check.values["decoders"] == {name: name not in lacking for name in ("h264", "hevc", "av1", "vp9")}


def test_weights_in_a_cache_are_found_without_a_network(monkeypatch, tmp_path, no_weights):
    assert {check.name: check.status for check in installation.weights()} == dict.fromkeys(installation.WEIGHTS, "note")
    repository, (name, *_), _ = installation.WEIGHTS["SFace"]
    snapshot = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
    (snapshot / "refs").mkdir(parents=True)
    (snapshot / "refs/main").write_text("abc")
    (snapshot / "snapshots/abc").mkdir(parents=True)
    (snapshot / "snapshots/abc" / name).touch()
    own = Path(os.environ["ABAW_RAY_CACHE"]) / f"{installation.YUNET_SHA256}.onnx"
    own.parent.mkdir()
    own.touch()
    found = {check.name: check.values["path"] for check in installation.weights() if check.status == "ok"}
    assert found == {"YuNet": str(own), "SFace": str(snapshot / "snapshots/abc" / name)}


def test_the_repository_of_the_encoder_is_that_of_timm():
    repository, _, _ = installation.WEIGHTS["DINOv2"]
    pretrained = timm.models.get_pretrained_cfg(repository.removeprefix("timm/"))
    assert pretrained is not None and pretrained.hf_hub_id == repository


def test_credentials_are_named_and_their_values_are_not_printed(doctor, monkeypatch):
    for name in installation._CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    assert installation.credentials().status == "ok"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASECRET")
    assert installation.credentials().status == "note"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "verysecret")
    check = installation.credentials()
    assert check.status == "ok" and check.found == "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY set"
    for args in ((), ("--json",)):
        _, printed = doctor(*args)
        assert "AWS_ACCESS_KEY_ID" in printed and "SECRET" not in printed.replace("AWS_SECRET_ACCESS_KEY", "") and "verysecret" not in printed
