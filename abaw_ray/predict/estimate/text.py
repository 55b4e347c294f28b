"""An estimate -> sentences for the plan."""

from collections.abc import Mapping
from dataclasses import dataclass

from abaw_ray.core.units import duration_text, size_text
from abaw_ray.predict.estimate.cost import Estimate, Totals


@dataclass(frozen=True, kw_only=True)
class Sample:
    """How many videos an estimate is based on."""

    videos: int
    """All videos to analyze, without images."""
    images: int
    read: int
    """Videos whose headers were read."""
    unreadable: int
    """Those of them that cannot be opened."""
    no_duration: int
    """Those of them that state no duration; they are counted like the others of their size."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Workers of both halves of the work; they are the same ones where there is no GPU."""

    find: int
    score: int
    gpu: bool


def input_line(sample: Sample, videos: Totals, size: float) -> str:
    """What is analyzed."""
    images = f", {sample.images:,} images" if sample.images else ""
    parts = [f"about {duration_text(videos.seconds)} of video{images}, {videos.frames:,.0f} frames, {size_text(size)}"]
    if sample.read < sample.videos:
        parts.append(f"estimated from {sample.read:,} of {sample.videos:,} videos")
    if sample.unreadable:
        parts.append(f"{sample.unreadable:,} of {sample.read:,} cannot be opened")
    if sample.no_duration:
        parts.append(f"{sample.no_duration:,} of {sample.read:,} state no duration")
    return "; ".join(parts)


def time_lines(estimate: Estimate, videos: Totals, workers: Workers, cpu_source: str, gpu_source: str) -> list[str]:
    """How long it takes, and the source of the rates."""
    score_s = sum(estimate.score_s.values())
    parts = ", ".join(f"{name} {duration_text(seconds)}" for name, seconds in {"faces": estimate.find_s, **estimate.score_s}.items())
    assumed = "with one person per frame"
    if not workers.gpu:
        cores = estimate.find_s + score_s
        whole = f"about {duration_text(cores / workers.find)} on {_count(workers.find)}"
        per_second = f"{_precise(cores / videos.seconds)} s of one CPU core per second of video, " if videos.seconds else ""
        return [f"{whole}, {duration_text(cores)} of one CPU core: {parts}", f"{per_second}{assumed}; {cpu_source}"]
    find_s = estimate.find_s / workers.find
    if estimate.gpu_s is None:
        lines = [f"faces about {duration_text(find_s)} on {_count(workers.find)}; on GPUs, a model of this size is not measured"]
    else:
        gpu_s = (estimate.gpu_s + score_s) / workers.score
        both = f"faces {duration_text(find_s)} on {_count(workers.find)}, scores {duration_text(gpu_s)} on {_count(workers.score, 'GPU worker')}"
        lines = [f"about {duration_text(max(find_s, gpu_s))}: {both} at the same time; {gpu_source}"]
    return [*lines, f"{assumed}, on CPUs: {parts}; {cpu_source}"]


def output_line(written: Mapping[str, float], chips: float) -> str:
    """What is written.

    Args:
        written: Bytes by kind.
        chips: Bytes of the face crops that are stored at the same time and deleted later.
    """
    kinds = ", ".join(f"{name} {size_text(size)}" for name, size in written.items())
    temporary = f"; face crops of {size_text(chips)} at a time, deleted as soon as they are scored" if chips else ""
    return f"writes about {size_text(sum(written.values()))}: {kinds}{temporary}"


def _count(workers: int, noun: str = "worker") -> str:
    return f"{workers:,} {noun}{'' if workers == 1 else 's'}"


def _precise(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
