"""Peak memory of ``abaw-ray analyze`` with a short and a long video."""

import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from abaw_ray.core.errors import StageError
from tools.bench.analyze.start import analyze_command
from tools.bench.video.memory import PeakSampler


def analysis_memory(video: Path, model: Path, weights: Path) -> dict[str, float]:
    """Analyze one video in a new process and sample its memory.

    Returns:
        Peaks of resident memory in MiB, shared memory counted in every process: ``parent``, ``children`` (their sum), ``sum`` (peak of the sum of
        all); ``seconds``, ``output_mb``.

    Raises:
        StageError: the analysis fails.
    """
    with tempfile.TemporaryDirectory(prefix="abaw-bench-") as folder:
        output, start = Path(folder) / "out", time.monotonic()
        with (Path(folder) / "log").open("w+") as log:
            process = subprocess.Popen(analyze_command(video, model, weights, output), stdout=log, stderr=log)
            with PeakSampler(parent=lambda: resident_mb([process.pid]), children=lambda: resident_mb(_descendants(process.pid))) as sampler:
                code = process.wait()
            if code:
                log.seek(0)
                raise StageError(f"{video}: the analysis ended with exit code {code}: {log.read()[-500:]}")
        written = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
        return sampler.peaks | {"seconds": time.monotonic() - start, "output_mb": written / 2**20}


def resident_mb(pids: list[int]) -> float:
    """Return the sum of the resident set sizes of these processes in MiB; 0 for one that has ended."""
    return sum(_resident(pid) for pid in pids) / 2**20


def _resident(pid: int) -> int:
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0


def _descendants(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def memory_figures(short: dict[str, float], long: dict[str, float]) -> dict[str, float]:
    """Figures of both videos with the prefixes ``short_`` and ``long_``, ``ratio`` of the sums and ``growth_mb``, their difference."""
    named = {f"{name}_{key}": value for name, figures in (("short", short), ("long", long)) for key, value in figures.items()}
    return named | {"ratio": long["sum"] / short["sum"], "growth_mb": long["sum"] - short["sum"]}
