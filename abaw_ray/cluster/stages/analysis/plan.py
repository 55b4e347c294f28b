"""The forecast of stage ``analysis`` for its plan: the headers of the videos, or of a sample of them -> time and size of the output."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from abaw_ray.cluster.engine.run import Run, once_per_run
from abaw_ray.cluster.engine.stage_work import Forecast
from abaw_ray.cluster.engine.workers.rounds import Chain
from abaw_ray.cluster.engine.workload import Workload
from abaw_ray.cluster.stages.workloads.videos import sampled_totals
from abaw_ray.core.errors import AbawError, StorageError
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.storage.filesystems import is_remote
from abaw_ray.core.units import size_text
from abaw_ray.data.videos import is_image
from abaw_ray.predict.config import output_config
from abaw_ray.predict.estimate.cost import Totals, estimate, image_totals, totals
from abaw_ray.predict.estimate.measured import CPU, H200
from abaw_ray.predict.estimate.model import ModelCost
from abaw_ray.predict.estimate.text import Sample, Workers, input_line, output_line, time_lines


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


@once_per_run
def _cached_totals(run: Run[Any]) -> dict[tuple[str, ...], tuple[Sample, Totals]]:
    """Results of ``_videos`` by the names of the videos: the headers are read once for both parts of a plan."""
    return {}


def _videos(run: Run[Any], rows: Sequence[dict]) -> tuple[Sample, Totals]:
    """The sums over all videos and images, and what they are based on."""
    known, names = _cached_totals(run), tuple(row["uri"] for row in rows)
    if names not in known:
        videos = [row for row in rows if not is_image(row["uri"])]
        basis, total = sampled_totals(videos, run.compute.limits, lambda header: totals(header, run.config.analysis, run.config.outputs))
        images = len(rows) - len(videos)
        known[names] = replace(basis, images=images), total + image_totals(images)
    return known[names]


def workloads(run: Run[Any], todo: Mapping[Item, dict], model: ModelCost) -> tuple[Workload, ...]:
    """What the unfinished videos take, for each operator: finding faces and scoring them; both in one where there is no GPU."""
    config, rows = run.config, list(todo.values())
    _, sums = _videos(run, rows)
    result = estimate(sums, len(rows), model, config.outputs, config.analysis, CPU, H200)  # its GPU time is not used
    spoken = sums.scored * model.speech_window_s if model.speech_window_s else sums.audio_s
    images, text, sources = sums.scored * model.images, f"{sums.scored:,.0f} scored frames", (f"analysis: {CPU.source}",)
    networks = Workload(
        text=text,
        cpu_s=sum(result.score_s.values()),
        images=images,
        gflop=images * model.image_gflop + spoken * model.speech_gflop,
        sources=sources,
    )
    if run.compute.features.gpus:
        return Workload(text=f"{sums.frames:,.0f} frames", cpu_s=result.find_s), networks
    return (replace(networks, cpu_s=networks.cpu_s + result.find_s),)


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
