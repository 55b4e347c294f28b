"""Execution of a job: completes a list of stages, then prints where the results are."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import Stage, needed
from abaw_ray.cluster.engine.stage_work import ItemWork
from abaw_ray.cluster.launch.plan import show_plan
from abaw_ray.cluster.launch.run_records.recorder import recorded
from abaw_ray.core.errors import BusyError, StorageError
from abaw_ray.core.progress import echo
from abaw_ray.core.stage_store.record import Record

Finish = Callable[[Run[Any], dict[str, Record]], Any]
"""The run and the records of its stages by name -> the summary; writes the summary and the report."""


def plan_or_run(run: Run[Any], stages: Sequence[Stage], finish: Finish | None = None) -> None:
    """Show the plan of these stages if the settings select it, else complete them (``run_job``)."""
    if run.config.plan:
        show_plan(run, stages)
    else:
        run_job(run, stages, finish)


def run_job(run: Run[Any], stages: Sequence[Stage], finish: Finish | None = None) -> dict[str, Record]:
    """Complete the stages in their order.

    Args:
        run: Settings, session and storage.
        stages: Stages to complete; a complete one is skipped.
        finish: Called with the records at the end.

    Returns:
        The stages' records by name.
    """
    stages = needed(run, stages)
    run.storage.check()
    warnings: dict[str, None] = {}
    for stage in stages:  # reports a wrong bucket, missing weights or unusable annotations before hours of work
        if stage.record(run) is None:
            stage.check_all(run)
            warnings |= dict.fromkeys(stage.warnings(run))
    for text in warnings:
        echo(f"warning: {text}")
    with recorded(run) as recorder:
        records = {stage.name: recorder.complete(stage) for stage in stages}
        with recorder.finishing():
            if finish:
                finish(run, records)
            _delete_columns(run, stages)
    if not finish:
        for stage in stages:
            echo(f"{stage.name}: {run.storage.uri(stage.store(run).path)}")
    return records


def _delete_columns(run: Run[Any], stages: Sequence[Stage]) -> None:
    """Delete what these complete stages have read and the settings do not keep. The results do not depend on it, so it cannot fail the job."""
    columns = [stage.work.column for stage in stages if isinstance(stage.work, ItemWork) and stage.work.column]
    for column in dict.fromkeys(columns):
        if column.keep(run.config):
            continue
        try:
            column.delete(run)
        except (BusyError, StorageError) as error:
            echo(f"warning: the {column.text} are not deleted, the next run of this command continues: {error}")


def report_again(run: Run[Any], stages: Sequence[Stage], finish: Finish) -> None:
    """Write the summary and the report of a finished run again; a plan only checks that it is finished.

    Raises:
        PendingError: a stage is not complete with these settings; the message names it and the command that runs it.
    """
    read_only = replace(run, config=replace(run.config, plan=True))  # a plan generates no data set
    records = {stage.name: stage.require(read_only) for stage in needed(read_only, stages)}
    if run.config.plan:
        echo("no problems; the same command without --plan writes the report")
        return
    with recorded(read_only) as recorder, recorder.finishing():
        finish(read_only, records)
