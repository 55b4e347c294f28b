"""The command ``abaw-ray`` itself: help, version, unknown commands, other platforms, and its entry points."""

import ast
import importlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from abaw_ray import __version__
from abaw_ray.cli import main as entry
from abaw_ray.cli.commands import COMMANDS
from abaw_ray.cli.jobs import JOBS, command_line, settings_of
from abaw_ray.cli.options import SHORT, options_of
from abaw_ray.core.errors import DataError

ROOT = Path(__file__).parents[2]


def run(monkeypatch, *args: str, command: tuple[str, ...] = ()) -> int | None:
    """Run the command line in this process; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["abaw-ray", *args])
    with pytest.raises(SystemExit) as ended:
        entry.main(*command)
    return ended.value.code


def test_the_help_lists_every_command_in_its_group(monkeypatch, capsys):
    assert run(monkeypatch, "--help") == 0
    printed = capsys.readouterr().out
    for command in COMMANDS:
        assert printed.index(command.group) < printed.index(f"  {command.name} ") and command.does in printed
    assert run(monkeypatch) == 2 and capsys.readouterr().out == printed


def test_the_version_is_that_of_the_package(monkeypatch, capsys):
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"abaw-ray {__version__}\n"


@pytest.mark.parametrize(("word", "hint"), [("face", "did you mean faces? (see abaw-ray --help)"), ("xyz", "see abaw-ray --help")])
def test_an_unknown_command_is_one_line(word, hint, monkeypatch, capsys):
    assert run(monkeypatch, word) == 2
    assert capsys.readouterr().err == f"error: abaw-ray has no command '{word}'; {hint}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_elsewhere_than_on_linux_every_command_is_one_line_that_names_wsl_and_containers(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "win32")
    assert run(monkeypatch, command.name, "--help") == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and "WSL 2" in printed.err and "container" in printed.err


def test_the_error_of_a_command_is_one_line_with_its_exit_code(monkeypatch, capsys):
    def fail(name: str, args: list[str]) -> None:
        raise DataError(f"{name} {args[0]}: no such file")

    monkeypatch.setattr("abaw_ray.cli.doctor.run.main", fail)
    assert run(monkeypatch, "clip.mp4", command=("doctor",)) == 3
    assert capsys.readouterr().err == "error: doctor clip.mp4: no such file\n"


def test_every_command_has_a_module_with_a_main_function():
    for command in COMMANDS:
        assert callable(importlib.import_module(command.module).main)
    assert {command.name for command in COMMANDS if command.module == "abaw_ray.cli.jobs"} == set(JOBS)


def test_the_installed_script_and_the_scripts_for_ray_job_submit_run_these_commands():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"abaw-ray": "abaw_ray.cli.main:main"}
    calls = {}
    for path in (ROOT / "jobs").glob("*.py"):
        (call,) = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        calls[path.stem] = call.args[0].value
    stages = {"prepare_faces": "faces", "extract_features": "features", "sweep_fusion": "sweep"}
    names = stages | {"train_encoder": "train", "search_encoder": "search"}
    assert calls == names | {name: name for name in ("ablation", "analyze", "predict", "pipeline")}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_everyday_page_has_an_example_the_everyday_options_and_their_names(command, monkeypatch, capsys):
    assert run(monkeypatch, command.name, "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"usage: abaw-ray {command.name}") and any(line.startswith(f"  abaw-ray {command.name}") for line in lines)
    assert "  --help-all" in lines
    if command.name in JOBS:
        options = [line for line in lines if line.startswith("  -")]
        assert 8 <= len(options) - 2 <= 15
        assert any(line.startswith("  -o, --output, --storage, --storage.uri ") for line in options)
        assert "  paper  " in "\n".join(lines)


@pytest.mark.parametrize("name", JOBS)
def test_the_examples_of_a_page_are_valid_command_lines(name):
    assert JOBS[name].examples and all(settings_of(name, example.split()) for example in JOBS[name].examples)


@pytest.mark.parametrize("name", JOBS)
def test_the_full_page_has_every_option_with_all_of_its_names(name, monkeypatch, capsys):
    assert run(monkeypatch, name, "--help-all") == 0
    printed = capsys.readouterr().out
    options = options_of(command_line(name).presets["paper"][1])
    shown = {word.rstrip(",") for line in printed.splitlines() if line.startswith("  -") for word in line.split() if word.startswith("-")}
    assert shown == {spelling for option in options.values() for spelling in option.names}
    assert (set(SHORT) & set(options) and "Sides of the squares in units of" in printed) or name in ("train", "search")


def test_the_pages_show_the_defaults_of_the_named_preset(monkeypatch, capsys):
    assert run(monkeypatch, "train", "demo", "--help") == 0
    printed = capsys.readouterr().out
    assert "options [defaults of demo];" in printed and "[0.0003]" in printed and "[runs/demo]" in printed
    assert run(monkeypatch, "faces", "--help") == 0
    assert "[runs/faces]" in capsys.readouterr().out


@pytest.mark.slow
def test_a_job_script_documents_its_settings_and_a_closed_pager_leaves_no_traceback():
    command = [sys.executable, "jobs/pipeline.py", "smoke", "--help-all"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "--sweep.trials" in done.stdout and "Number of trials" in done.stdout
    piped = f"{' '.join(command)} | head -1"
    done = subprocess.run(["bash", "-c", piped], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "usage: abaw-ray pipeline PRESET [options]\n" and done.stderr == ""
