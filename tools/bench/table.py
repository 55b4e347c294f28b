"""The figures of a benchmark run -> a table for people and a JSON file for comparisons; what all benchmarks share. Nothing is measured here."""

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from abaw_ray.core.progress import echo
from abaw_ray.core.storage.records import git_revision

_PACKAGES = ("av", "opencv-python-headless", "ray", "pyarrow", "numpy")


def told(tool: str, clips: Path, weights: Path, quick: bool, only: tuple[str, ...]) -> str:
    """The command line of a run, with paths by their last name alone."""
    command = f"python -m tools.bench.{tool} --clips {clips.name} --weights {weights.name}"
    return command + (" --quick" if quick else "") + (f" --only {' '.join(only)}" if only else "")


def stamp(*more: str) -> dict:
    """When, on which machine, and with which versions (of ``more`` packages too) a run was made."""
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "versions": {name: importlib.metadata.version(name) for name in (*_PACKAGES, *more)},
        "git": git_revision(),
    }


def machine() -> dict:
    """The machine, as far as it matters for speed."""
    model = next((line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "memory_gb": round(psutil.virtual_memory().total / 2**30, 1)}


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


Row = tuple[str, tuple[str, str], str, str]
"""Of a smaller benchmark: key, place among the raw figures, aim, and what it is."""


def dig(raw: dict, place: tuple[str, str]) -> float | None:
    """One figure of a smaller benchmark; None where its part was not measured."""
    return raw.get(place[0], {}).get(place[1])


def write_rows(path: Path, rows: tuple[Row, ...], note: dict, raw: dict) -> None:
    """Write a smaller benchmark's JSON file: the figures, what the run was, and all raw figures."""
    path.write_text(json.dumps(rounded({key: dig(raw, place) for key, place, *_ in rows} | note | {"raw": raw}), indent=1) + "\n")


def show_rows(rows: tuple[Row, ...], raw: dict) -> None:
    """Print a smaller benchmark's table."""
    table = Table("figure", "value", "aim", "what it is")
    for key, place, aim, said in rows:
        value = dig(raw, place)
        table.add_row(key, "-" if value is None else f"{value:.3g}", aim, said)
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def measured(parts: dict[str, Callable[[], dict]], only: tuple[str, ...], raw: dict, done: Callable[[], None]) -> dict:
    """Do the wanted parts of a smaller benchmark, one after the other, into ``raw``; ``done`` is called after each."""
    for name, part in parts.items():
        if not only or name in only:
            echo(name)
            raw[name] = part()
            done()
    return raw


def rounded(value: Any) -> Any:
    """Five digits are more than any of it is worth."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list | tuple) else value
