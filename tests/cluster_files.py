"""Cluster files for tests: copies of the shipped ones with single changes."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tools.clusters.check.files import check

ROOT = Path(__file__).parents[1]
NODE = "tools/clusters/node"
HEAD, WORKER = "head_start_ray_commands", "worker_start_ray_commands"


def writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict], Path]:
    """A function that writes a cluster file into the working folder, which then has the files that the shipped ones mount."""
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / NODE, tmp_path / NODE)
    monkeypatch.chdir(tmp_path)

    def dump(config: dict) -> Path:
        path = tmp_path / "cluster.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    return dump


def shipped(name: str = "cluster.yaml") -> dict:
    return copy.deepcopy(yaml.safe_load((ROOT / name).read_text()))


def swap(key: str, old: str, new: str) -> Callable[[dict], None]:
    """A function that replaces a text in every command of a list."""

    def modify(config: dict) -> None:
        before = config[key]
        config[key] = [command.replace(old, new) for command in before]
        assert config[key] != before

    return modify


def node(kind: str) -> Callable[[dict], dict]:
    return lambda config: config["available_node_types"][kind]


def assert_rejected(path: Path, expected: str) -> None:
    """Assert that one of the file's problems, of one line each, has the expected text."""
    problems = check(path)
    assert any(expected in line for line in problems), problems
    assert all("\n" not in line for line in problems)


def assert_change_is_rejected(write: Callable[[dict], Path], name: str, change: tuple[Callable[[dict], object], str]) -> None:
    """Assert that a shipped file with one change is rejected; the change is a function that makes it, with the expected text."""
    modify, expected = change
    config = shipped(name)
    modify(config)
    assert_rejected(write(config), expected)
