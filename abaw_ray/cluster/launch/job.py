"""Execution of a job: completes a list of stages, then prints where the results are."""

from collections.abc import Callable, Sequence
from typing import Any

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import Stage, complete_all
from abaw_ray.core.progress import echo
from abaw_ray.core.storage.records import Record

Finish = Callable[[Run[Any], dict[str, Record]], Any]
"""The run and the records of its stages by name -> the summary; writes the summary and the report."""


def run_job(run: Run[Any], stages: Sequence[Stage], finish: Finish | None = None) -> dict[str, Record]:
    """Complete the stages in their order.

    Args:
        run: Settings, session and storage.
        stages: Stages to complete; a complete one is skipped.
        finish: Called with the records at the end.

    Returns:
        The stages' records by name.
    """
    run.storage.check()
    for stage in stages:  # reports a wrong bucket, missing weights or unusable annotations before hours of work
        if stage.record(run) is None:
            stage.check(run)
    records = complete_all(run, stages)
    if finish:
        finish(run, records)
    else:
        for stage in stages:
            echo(f"{stage.name}: {run.storage.uri(stage.store(run).path)}")
    return records
