"""The forecast of stage ``analysis`` for its plan: the headers of the videos, or of a sample of them -> time and size of the output."""

import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from abaw_ray.cluster.engine.rounds import Chain
from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import Forecast
from abaw_ray.core.errors import AbawError, StorageError
from abaw_ray.core.storage.filesystems import is_remote
from abaw_ray.core.storage.records import Item
from abaw_ray.core.units import size_text
from abaw_ray.data.videos import is_image
from abaw_ray.media.playback.header import VideoHeader, read_headers
from abaw_ray.predict.config import output_config
from abaw_ray.predict.estimate.cost import Totals, estimate, extrapolated, image_totals, totals
from abaw_ray.predict.estimate.measured import CPU, H200
from abaw_ray.predict.estimate.model import ModelCost
from abaw_ray.predict.estimate.text import Sample, Workers, input_line, output_line, time_lines

_SAMPLE = 64
"""Most headers that are read; of more videos, those of a sample. Ours."""
_HEADER_S = 20.0
"""Longest time without progress while one header is read. Ours."""


def forecast(run: Run[Any], todo: Mapping[Item, dict], model: ModelCost, workers: tuple[int, ...], *, in_driver: bool) -> Forecast:
    """Time and size of the output of the unfinished videos.

    Args:
        run: Settings.
        todo: Unfinished videos and images.
        model: Arithmetic of the model.
        workers: Number of workers of each operator.
        in_driver: Whether they are analyzed in this process, one after the other.
    """
    config, rows = run.config, list(todo.values())
    sample, videos = _videos(run, rows)
    gpu = H200 if run.compute.features.gpus else None
    counts = (1,) if in_driver else tuple(max(count, 1) for count in workers)
    used = Workers(find=counts[0], score=counts[-1], gpu=gpu is not None)
    result = estimate(videos, len(rows), model, config.outputs, config.analysis, CPU, gpu)
    stored = min(_stored_at_a_time(run, used), len(rows))
    written = dict(result.written) | ({"face crops": result.chips * len(rows)} if config.keep_chips and result.chips else {})
    lines = [
        input_line(sample, videos, sum(row["size"] for row in rows)),
        *time_lines(result, videos, used, CPU.source, H200.source),
        output_line(written, 0.0 if config.keep_chips else result.chips * stored),
    ]
    free = _free_bytes(output_config(config.storage).uri)
    if free is None:
        return Forecast(lines=tuple(lines))
    where, available = free
    return Forecast(lines=(*lines, f"{size_text(available)} are free in {where}"), problem=_problem(where, available, sum(written.values())))


def _videos(run: Run[Any], rows: Sequence[dict]) -> tuple[Sample, Totals]:
    """The sums over all videos and images, and what they are based on."""
    videos = [row for row in rows if not is_image(row["uri"])]
    sample = videos if len(videos) <= _SAMPLE else random.Random(0).sample(videos, _SAMPLE)
    found = read_headers([row["uri"] for row in sample], replace(run.compute.limits, seconds=min(run.compute.limits.seconds, _HEADER_S)))
    known = [(row["size"], header) for row, header in zip(sample, found, strict=True) if isinstance(header, VideoHeader)]
    stated = [(size, header) for size, header in known if header.duration_s]
    unreadable = sum(row["size"] for row, header in zip(sample, found, strict=True) if isinstance(header, str))
    sums = [totals(header, run.config.analysis, run.config.outputs) for _, header in stated]
    all_bytes = sum(row["size"] for row in videos)
    total = extrapolated(sums, unreadable + sum(size for size, _ in stated), all_bytes) + image_totals(len(rows) - len(videos))
    basis = Sample(
        videos=len(videos),
        images=len(rows) - len(videos),
        read=len(sample),
        unreadable=len(sample) - len(known),
        no_duration=len(known) - len(stated),
    )
    return basis, total


def _stored_at_a_time(run: Run[Any], workers: Workers) -> int:
    """Most videos whose face crops exist at the same time."""
    return workers.find + Chain.in_flight_per_worker * workers.score if workers.gpu else workers.find


def _free_bytes(uri: str) -> tuple[Path, int] | None:
    """The existing folder on whose disk the output will be, and its free bytes; None for an object store."""
    if is_remote(uri):
        return None
    folder = Path(uri.removeprefix("file://")).absolute()
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    return existing, shutil.disk_usage(existing).free


def _problem(where: Path, free: float, needed: float) -> AbawError | None:
    if needed <= free:
        return None
    return StorageError(
        f"{where}: the output needs about {size_text(needed)}, and {size_text(free)} are free; choose another folder with -o, or write less "
        "(--fps, --no-report, without --overlay)"
    )
