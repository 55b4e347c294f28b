"""Figures of a benchmark run -> a table and a JSON file; shared by all benchmarks."""

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import psutil
import tyro
from rich.console import Console
from rich.table import Table

from abaw_ray.core.errors import AbawError
from abaw_ray.core.progress import echo
from abaw_ray.core.stage_store.provenance import git_revision

JsonFile = Annotated[Path | None, tyro.conf.arg(name="json")]
"""Option ``--json`` of a benchmark: output file of all figures."""
_PACKAGES = ("av", "opencv-python-headless", "ray", "pyarrow", "numpy")


def command_line(module: str, **options: Path | tuple[object, ...] | str | float | bool | None) -> str:
    """The command line of a run as text for its metadata.

    Args:
        module: What ``python -m`` runs.
        options: Values by name. Of a path, only the last component is shown; an option that is False, None or empty is left out.
    """
    words = [f"python -m {module}"]
    for name, value in options.items():
        option = name.replace("_", "-")
        if value is True:
            words.append(f"--{option}")
        elif value is not None and value is not False and value != ():
            values = value if isinstance(value, tuple) else (value,)
            words += [f"--{option}", *(one.name if isinstance(one, Path) else f"{one:g}" if isinstance(one, float) else str(one) for one in values)]
    return " ".join(words)


def report_error(error: AbawError) -> int:
    """Print an error as one line to stderr; returns the exit code."""
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code


def run_main(main: Callable[..., None]) -> None:
    """Run a tool with the options of the command line; an error of the input is one line, and the exit code that of its kind."""
    try:
        tyro.cli(main)
    except AbawError as error:
        sys.exit(report_error(error))


def metadata(*packages: str) -> dict:
    """Return date, machine, git revision and package versions (also of ``packages``) of a run."""
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "versions": {name: importlib.metadata.version(name) for name in (*_PACKAGES, *packages)},
        "git": git_revision(),
    }


def machine() -> dict:
    """Return the CPU model, number of cores and memory of this machine."""
    model = next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "memory_gb": round(psutil.virtual_memory().total / 2**30, 1)}


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


Row = tuple[str, tuple[str, str], str, str]
"""A figure: key, its two keys in the raw figures, target, description."""


def lookup(raw: dict, place: tuple[str, str]) -> float | None:
    """Return one raw figure; None if its part was not measured."""
    return raw.get(place[0], {}).get(place[1])


def write_rows(path: Path, rows: tuple[Row, ...], note: dict, raw: dict) -> None:
    """Write the JSON file: the figures, the run's metadata (``note``), and all raw figures."""
    path.write_text(json.dumps(rounded({key: lookup(raw, place) for key, place, *_ in rows} | note | {"raw": raw}), indent=1) + "\n")


def show_rows(rows: tuple[Row, ...], raw: dict) -> None:
    """Print the table of figures."""
    table = Table("figure", "value", "target", "description")
    for key, place, target, description in rows:
        value = lookup(raw, place)
        table.add_row(key, "-" if value is None else f"{value:.3g}", target, description)
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def measure_parts(parts: dict[str, Callable[[], dict]], only: tuple[str, ...], raw: dict, done: Callable[[], None]) -> dict:
    """Measure the parts named in ``only`` (all if empty) into ``raw`` and return it; calls ``done`` after each part."""
    for name, part in parts.items():
        if not only or name in only:
            echo(name)
            raw[name] = part()
            done()
    return raw


def rounded(value: Any) -> Any:
    """Return the value with its floats rounded to five significant digits."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list | tuple) else value
