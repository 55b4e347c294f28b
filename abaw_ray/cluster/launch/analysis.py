"""Execution of ``abaw-ray analyze``: completes the stage, then writes the files about all videos and shows where everything is."""

import time
from contextlib import nullcontext
from typing import Any

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import Stage
from abaw_ray.cluster.launch.plan import show_plan
from abaw_ray.cluster.launch.run_records.recorder import Recorder, recorded
from abaw_ray.cluster.stages.analysis.analyze import analysis_work, analyze_stage, analyzed_videos, model_metadata
from abaw_ray.core.errors import StageError, StorageError
from abaw_ray.core.progress import echo
from abaw_ray.core.storage.filesystems import is_remote
from abaw_ray.predict.output.collection import Collection, write_collection
from abaw_ray.predict.output.result import CollectionResult


def run_analysis(run: Run[Any]) -> None:
    """Show the plan, or analyze all videos and write all files; ``run.result`` is then the object for ``--json``.

    Raises:
        StageError: too many videos failed, or all; the files of the others are complete.
        StorageError: some videos could not be read, or their files not be written, in any attempt; those of the others are complete.
    """
    stage, started = analyze_stage(run), time.monotonic()
    if run.config.plan:
        show_plan(run, [stage])
        return
    run.storage.check()
    kept = run.session.shared or is_remote(run.storage.uri())  # beside one clip on a laptop, a record would only be in the way
    with recorded(run) if kept else nullcontext() as recorder:
        _analyze(run, stage, recorder, started)


def _analyze(run: Run[Any], stage: Stage[Any], recorder: Recorder | None, started: float) -> None:
    """Complete the stage, write the files about all videos and show where everything is."""
    notices = analysis_work(run).notices
    for notice in notices:
        echo(f"note: {notice}")
    error = None
    try:
        if recorder:
            recorder.complete(stage)
        else:
            stage.complete(run)
    except (StageError, StorageError) as failed:  # the good ones are kept and shown
        error = failed
    try:
        with recorder.finishing() if recorder else nullcontext():
            result = _write_files(run)
    except StorageError as failed:
        raise error or failed from None
    seconds, (counts, *lines) = time.monotonic() - started, result.lines()
    run.result.update({"seconds": round(seconds, 2), "notes": list(notices), **result.to_plain()})
    echo(f"analyze: {counts}, {seconds:.0f} s")
    for line in lines:
        echo(f"  {line}")
    if error:
        raise error


def _write_files(run: Run[Any]) -> CollectionResult:
    """Write the files about all videos."""
    work, store, videos = analysis_work(run), analyze_stage(run).store(run), analyzed_videos(run)
    state = store.state(videos)
    collection = Collection(
        videos=list(videos.values()),
        analyses=state.outputs,
        failures=state.failures,
        metadata=model_metadata(run),
        settings=run.config,
        outputs=run.config.outputs,
    )
    writer = work.writer()
    try:
        return write_collection(collection, store.storage, work.output, writer)
    finally:
        writer.close()
