"""Execution of a command that runs stages: signals, output of libraries, one-line errors, exit codes, and its result as JSON."""

import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from abaw_ray.cluster.engine.run import Run, RunConfig
from abaw_ray.cluster.engine.user_errors import to_user_error
from abaw_ray.cluster.launch.run_records.log_upload import log_uploaded
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.core.progress import EchoTarget, redirect_library_output
from abaw_ray.core.storage.filesystems import is_remote
from abaw_ray.core.storage.storage import Storage

_ConfigT = TypeVar("_ConfigT", bound=RunConfig)
OutputMode = Literal["text", "quiet", "json"]
"""What a command prints: lines for people; nothing but errors; or one JSON object on stdout, and the lines on stderr."""
_ECHO_TO: dict[OutputMode, EchoTarget] = {"text": "stdout", "quiet": "nothing", "json": "stderr"}


def run_command(
    name: str, parse: Callable[[], _ConfigT], load: Callable[[], Callable[[Run[_ConfigT]], object]], output: OutputMode = "text"
) -> NoReturn:
    """Parse the command line, run the command, and end the process with an exit code.

    Args:
        name: Name of the command, for its log.
        parse: Returns the settings; raises ``ConfigError`` for an invalid command line.
        load: Returns the function that runs the command. Called after ``parse``, because it imports every model.
        output: What is printed. The JSON object is ``Run.result`` with ``error`` (null without one) and ``exit_code``.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores the signal by default
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # a stopped job ends as cleanly as after Ctrl-C
    code, message, result = 0, "", {}
    try:
        config = parse()
        with _library_output(config, name, _ECHO_TO[output]), RaySession(config.compute, config.storage) as session:
            load()(Run(config, session, command=name, result=result))
    except KeyboardInterrupt:
        code, message = 130, "stopped; finished items are kept, and the same command continues from there"
    except Exception as error:
        user_error = to_user_error(error)
        if user_error is None:  # a defect in this package or a library: its traceback, and a last line that a job's log shows
            traceback.print_exc()
        code = user_error.exit_code if user_error else 1
        message = f"error: {user_error}" if user_error else f"error: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    _print_end(code, message, result, output)
    sys.exit(code)


def _print_end(code: int, message: str, result: dict[str, Any], output: OutputMode) -> None:
    """Print the error, the line with the exit code that a job's log ends with, and the JSON object, as far as the mode has them."""
    if message:
        print(message, file=sys.stderr, flush=True)
    if output != "quiet" and ("RAY_JOB_ID" in os.environ or os.environ.get("RAY_ADDRESS")):
        print(f"exit={code} {message}".rstrip(), file=sys.stdout if output == "text" else sys.stderr, flush=True)
    if output == "json":
        print(json.dumps(result | {"error": message.removeprefix("error: ") or None, "exit_code": code}, indent=1), flush=True)


@contextmanager
def _library_output(config: RunConfig, name: str, echo_to: EchoTarget) -> Iterator[None]:
    """Redirect the output of Ray and other libraries to a log; that of a plan, which leaves no file, to a temporary one.

    Where the results are not on this machine, the log has the lines for the user too, and is copied to them.
    """
    if not config.plan:
        log, remote = log_path(config, name), is_remote(config.storage.uri)
        with redirect_library_output(log, echo_to, copy_lines=remote), log_uploaded(Storage(config.storage), log) if remote else nullcontext():
            yield
        return
    with tempfile.TemporaryDirectory(prefix="abaw-plan-") as folder, redirect_library_output(Path(folder) / "plan.log", echo_to):
        yield


def log_path(config: RunConfig, name: str) -> Path:
    """Path of the log of Ray and other libraries: beside the results if they are on this machine."""
    root = Path("runs") if is_remote(config.storage.uri) else Path(config.storage.uri.removeprefix("file://"))
    return root / "logs" / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
