"""The command line of a job: presets, every setting as an option, one clear line for what goes wrong, an exit code that means it."""

import contextlib
import io
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import tyro

from abaw_ray.cluster.engine.compute import compute_preset
from abaw_ray.cluster.engine.errors import to_user_error
from abaw_ray.cluster.engine.run import Run, RunConfig
from abaw_ray.cluster.engine.session import RaySession
from abaw_ray.cluster.launch.config import own_stage
from abaw_ray.cluster.launch.plan import show
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.progress import echo, redirect_library_output
from abaw_ray.core.storage.filesystems import is_remote

_JobT = TypeVar("_JobT", bound=RunConfig)
_SHORT = {
    "--storage": "--storage.uri",
    "--endpoint": "--storage.endpoint",
    "--videos": "--data.videos",
    "--retry-failures": "--policy.retry-failures",
    "--max-failures": "--policy.max-failures",
}
"""The options that everybody needs, by the name one would try first."""
_SHORT_FACES = {"--detector": "detector.kind", "--weights": "detector.weights", "--chips": "chips.keep"}
"""The same of faces, in every job that has them."""


def run(call: Callable[[Run, Any], None], presets: Mapping[str, tuple[str, _JobT]], *stages: str) -> None:
    """Parse the command line, do the job, and end the process with its exit code.

    Args:
        call: Does the job: gets the run and the job's settings.
        presets: Name -> what it is for, and its settings.
        stages: What the job brings about, for its plan.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job ignores from birth; ours can be stopped
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # a stopped job ends as cleanly as a Ctrl-C
    code, why = 0, ""
    try:
        job = parse(presets, sys.argv[1:])
        with redirect_library_output(log_path(job)), RaySession(job.compute, job.storage) as engine:
            if job.plan:
                show(Run(job, engine), job, stages)
            else:
                call(Run(job, engine), job)
    except KeyboardInterrupt:
        code, why = 130, "stopped; what was finished is kept, and the same command goes on from there"
    except Exception as error:
        found = to_user_error(error)
        if found is None:  # a defect of ours, or of something below us: its traceback, and an end that a log shows all the same
            traceback.print_exc()
        code, why = (found.exit_code, f"error: {found}") if found else (1, f"error: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
    if why:
        print(why, file=sys.stderr, flush=True)
    if "RAY_JOB_ID" in os.environ or os.environ.get("RAY_ADDRESS"):
        echo(f"exit={code} {why}".rstrip())
    sys.exit(code)


def parse(presets: Mapping[str, tuple[str, _JobT]], args: list[str]) -> _JobT:
    """The settings that these arguments ask for.

    Raises:
        ConfigError: an unknown preset, option or value; in one line, with the nearest name.
        SystemExit: with 0, after ``--help``.
    """
    presets = _on(presets, args)
    said = io.StringIO()
    job = next(settings for _, settings in presets.values())
    args = [f"{_own_name(job, name)}{equals}{value}" for name, equals, value in (arg.partition("=") for arg in args)]
    try:
        with contextlib.redirect_stderr(said):
            return tyro.extras.overridable_config_cli(presets, args=args, prog=Path(sys.argv[0]).name)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ConfigError(one_line(said.getvalue())) from None


def _on(presets: Mapping[str, tuple[str, _JobT]], args: list[str]) -> Mapping[str, tuple[str, _JobT]]:
    """The presets with the compute settings of the shape that the arguments name, so that single options change these."""
    flat = [part for arg in args for part in (arg.split("=", 1) if arg.startswith("--on=") else [arg])]
    if "--on" not in flat[:-1]:
        return presets
    compute = compute_preset(flat[flat.index("--on") + 1])
    return {name: (text, replace(job, compute=compute)) for name, (text, job) in presets.items()}


def _own_name(job: RunConfig, option: str) -> str:
    """The name that this job has for an option: one of everybody's short ones, or with the prefix that other jobs need."""
    option, prefix = _short_of(job).get(option, option), f"--{own_stage(type(job))}."
    return f"--{option.removeprefix(prefix)}" if option.startswith(prefix) else option


def _short_of(job: RunConfig) -> dict[str, str]:
    """The short names of this job's options, and what they are short for."""
    if not hasattr(job, "faces"):
        return _SHORT
    return _SHORT | {name: f"--faces.{option}" for name, option in _SHORT_FACES.items()}


def one_line(box: str) -> str:
    """What the parser says in a box, in one line: the complaint, the nearest option, where to look."""
    lines = [re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", "", line).strip() for line in box.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("in ", "For full helptext", "Argument helptext"))]
    titles = ("Unrecognized options", "Value error", "Parsing error", "Missing subcommand", "Required options")
    complaint = next((line for line in lines if line not in titles), "the command line cannot be read")
    near = [line.split()[0] for line in lines[lines.index(complaint) + 1 :] if line.startswith("--")] if complaint in lines else []
    choices = next((line for line in lines if line.startswith("Available subcommands")), "")
    hint = f"; did you mean {near[0]}?" if near and "Unrecognized" in complaint else f"; {choices}" if choices else ""
    return f"{complaint.rstrip('.')}{hint} (see --help)"


def log_path(job: RunConfig) -> Path:
    """Where this run's log of Ray and the libraries goes: beside the results if they are on this machine."""
    root = Path("runs") if is_remote(job.storage.uri) else Path(job.storage.uri.removeprefix("file://"))
    return root / "logs" / f"{Path(sys.argv[0]).stem}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
