"""The command line of a job: presets, every setting as an option, one-line errors, exit codes."""

import contextlib
import io
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import tyro

from abaw_ray.cluster.engine.compute import compute_preset
from abaw_ray.cluster.engine.run import Run, RunConfig
from abaw_ray.cluster.engine.session import RaySession
from abaw_ray.cluster.engine.stage import Stage
from abaw_ray.cluster.engine.user_errors import to_user_error
from abaw_ray.cluster.launch.config import own_stage
from abaw_ray.cluster.launch.job import Finish, run_job
from abaw_ray.cluster.launch.plan import show_plan
from abaw_ray.cluster.launch.presets import presets_of
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.progress import echo, redirect_library_output
from abaw_ray.core.storage.filesystems import is_remote

_ConfigT = TypeVar("_ConfigT", bound=RunConfig)
_SHORT = {
    "--storage": "--storage.uri",
    "--endpoint": "--storage.endpoint",
    "--videos": "--data.videos",
    "--retry-failures": "--policy.retry-failures",
    "--max-failures": "--policy.max-failures",
}
"""Short names of the most used options."""
_SHORT_FACES = {"--detector": "detector.kind", "--weights": "detector.weights", "--chips": "chips.keep"}
"""Short names of face options, in every job that has them."""


def main(config: type[_ConfigT], *stages: str) -> None:
    """Run a job: parse its command line, complete its stages, end the process with its exit code.

    Args:
        config: Type of the job's settings.
        stages: Names of the stages to complete; if none is given, all stages and then the report.
    """

    def load() -> tuple[Sequence[Stage], Finish | None]:
        from abaw_ray.cluster.launch import pipeline  # imports every model, which --help and a wrong option do not need

        chosen = [stage for stage in pipeline.STAGES if stage.name in stages]
        return (chosen, None) if stages else (pipeline.STAGES, pipeline.finish)

    run_command(presets_of(config), load)


def run_command(presets: Mapping[str, tuple[str, _ConfigT]], load: Callable[[], tuple[Sequence[Stage], Finish | None]]) -> None:
    """Parse the command line, complete stages, and end the process with an exit code.

    Args:
        presets: Name -> description and settings.
        load: Returns the stages in their order, and the function to call with their records at the end.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores the signal by default
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # a stopped job ends as cleanly as after Ctrl-C
    code, message = 0, ""
    try:
        config = parse(presets, sys.argv[1:])
        with redirect_library_output(log_path(config)), RaySession(config.compute, config.storage) as session:
            run, (stages, finish) = Run(config, session), load()
            if config.plan:
                show_plan(run, stages)
            else:
                run_job(run, stages, finish)
    except KeyboardInterrupt:
        code, message = 130, "stopped; finished items are kept, and the same command continues from there"
    except Exception as error:
        user_error = to_user_error(error)
        if user_error is None:  # a defect in this package or a library: its traceback, and a last line that a job's log shows
            traceback.print_exc()
        code = user_error.exit_code if user_error else 1
        message = f"error: {user_error}" if user_error else f"error: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if message:
        print(message, file=sys.stderr, flush=True)
    if "RAY_JOB_ID" in os.environ or os.environ.get("RAY_ADDRESS"):
        echo(f"exit={code} {message}".rstrip())
    sys.exit(code)


def parse(presets: Mapping[str, tuple[str, _ConfigT]], args: list[str]) -> _ConfigT:
    """The settings that these arguments select.

    Raises:
        ConfigError: an unknown preset, option or value; in one line, with the most similar name.
        SystemExit: with 0, after ``--help``.
    """
    presets = _with_cluster_size(presets, args)
    output = io.StringIO()
    config = next(settings for _, settings in presets.values())
    args = [f"{_full_name(config, name)}{equals}{value}" for name, equals, value in (arg.partition("=") for arg in args)]
    try:
        with contextlib.redirect_stderr(output):
            return tyro.extras.overridable_config_cli(presets, args=args, prog=Path(sys.argv[0]).name)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ConfigError(one_line(output.getvalue())) from None


def _with_cluster_size(presets: Mapping[str, tuple[str, _ConfigT]], args: list[str]) -> Mapping[str, tuple[str, _ConfigT]]:
    """The presets with the compute settings of ``--cluster-size``; single options then change these."""
    name = "--cluster-size"
    words = [word for arg in args for word in (arg.split("=", 1) if arg.startswith(f"{name}=") else [arg])]
    if name not in words[:-1]:
        return presets
    compute = compute_preset(words[words.index(name) + 1])
    return {preset: (text, replace(config, compute=compute)) for preset, (text, config) in presets.items()}


def _full_name(config: RunConfig, option: str) -> str:
    """The name that this job's parser expects, for an option given by its short name or with the prefix of the job's own stage."""
    option, prefix = _short_of(config).get(option, option), f"--{own_stage(type(config))}."
    return f"--{option.removeprefix(prefix)}" if option.startswith(prefix) else option


def _short_of(config: RunConfig) -> dict[str, str]:
    """Short name -> full name of this job's options."""
    if not hasattr(config, "faces"):
        return _SHORT
    return _SHORT | {name: f"--faces.{option}" for name, option in _SHORT_FACES.items()}


def one_line(message: str) -> str:
    """The parser's boxed message in one line: the problem, the most similar option, and a reference to ``--help``."""
    lines = [re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", "", line).strip() for line in message.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("in ", "For full helptext", "Argument helptext"))]
    titles = ("Unrecognized options", "Value error", "Parsing error", "Missing subcommand", "Required options")
    problem = next((line for line in lines if line not in titles), "the command line cannot be read")
    similar = [line.split()[0] for line in lines[lines.index(problem) + 1 :] if line.startswith("--")] if problem in lines else []
    choices = next((line for line in lines if line.startswith("Available subcommands")), "")
    hint = f"; did you mean {similar[0]}?" if similar and "Unrecognized" in problem else f"; {choices}" if choices else ""
    return f"{problem.rstrip('.')}{hint} (see --help)"


def log_path(config: RunConfig) -> Path:
    """Path of the log of Ray and other libraries: beside the results if they are on this machine."""
    root = Path("runs") if is_remote(config.storage.uri) else Path(config.storage.uri.removeprefix("file://"))
    return root / "logs" / f"{Path(sys.argv[0]).stem}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
