"""Plan, run, records and report rows need only a list of stages and a settings class: here those of the test."""

import json
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pytest
from event_files import read_scalars
from node_metrics import metrics_collected, wait_for_metrics

from abaw_ray.cluster.engine.run import Policy, Run, RunConfig
from abaw_ray.cluster.engine.stage import Stage, stage_summary
from abaw_ray.cluster.engine.stage_work import ItemOperator, ItemWork, RunWork
from abaw_ray.cluster.launch.job import run_job
from abaw_ray.cluster.launch.plan import show_plan
from abaw_ray.cluster.machines.capacity import Machine
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.core.errors import ConfigError, DataError, ItemError
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.storage.filesystems import StorageConfig

pytestmark = pytest.mark.slow


@dataclass(frozen=True, kw_only=True)
class WordsConfig:
    """Settings of the first stage."""

    upper: bool = False


@dataclass(frozen=True, kw_only=True)
class BookConfig(RunConfig):
    """Settings of both stages, and the texts that they read."""

    texts: tuple[str, ...] = ("one", "two words", "three more words")
    words: WordsConfig = field(default_factory=WordsConfig)


def split_text(store, item, payload):
    """One text -> its words."""
    with open(payload["log"], "a") as log:
        log.write(item.name + "\n")
    if not payload["text"]:
        raise ItemError("it is empty")
    words = payload["text"].split()
    store.storage.write_table(store.output(item), pa.table({"word": [word.upper() if payload["upper"] else word for word in words]}))
    return {"rows": len(words)}


def texts(run):
    body = {"upper": run.config.words.upper, "log": f"{run.config.storage.uri}.log"}
    return {Item(name=f"text {number}", identity=text): {"text": text} | body for number, text in enumerate(run.config.texts)}


def count(run, store, item):
    words = WORDS.require(run)
    total = sum(run.storage.table_rows(path) for path in words.outputs.values())
    run.storage.write_bytes(f"{store.output(item, '')}/total.json", json.dumps(total).encode())
    store.complete_folder(item, {"rows": 1, "total": total})
    return {"rows": 1, "total": total}


def refuse_whispers(run):
    if "whisper" in run.config.texts:
        raise ConfigError("texts: whisper cannot be read; leave it out")


SMALL, TASK = Resources(workers=1, memory_gb=0.1), Resources(workers=1, memory_gb=0.2)
WORDS = Stage(
    name="words",
    revision=1,
    settings=lambda config: config.words,
    check=refuse_whispers,
    warnings=lambda run: ("texts: one is short",) if "one" in run.config.texts else (),
    work=ItemWork(
        items=texts,
        operators=(ItemOperator(build=lambda run: lambda: split_text, resources=lambda compute: SMALL),),
        unit="texts",
        summarize=lambda run, outputs: {"longest": max(run.storage.table_rows(path) for path in outputs.values())},
        describe=lambda items: f"{sum(len(payload['text']) for payload in items.values())} letters",
    ),
    job="jobs/words.py",
)
TOTAL = Stage(
    name="total",
    revision=1,
    settings=lambda config: {},
    inputs=(WORDS,),
    work=RunWork(run=count, resources=lambda compute: SMALL, describe=lambda run: "one sum"),
    job="jobs/total.py",
)


@pytest.fixture(scope="module")
def session():
    import sys

    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module
    config = BookConfig()
    with metrics_collected(), RaySession(replace(config.compute, object_store_mb=80)) as session:
        session.start()
        yield session


@pytest.fixture
def run(session, tmp_path):
    """A function that makes a run with changed settings; ``processed`` lists the processed texts."""

    def make(**changes):
        return Run(BookConfig(storage=StorageConfig(uri=str(tmp_path / "runs")), **changes), session)

    make.processed = lambda: sorted((tmp_path / "runs.log").read_text().splitlines())
    return make


def plan_of(run, capsys, monkeypatch, stages=(WORDS, TOTAL)):
    monkeypatch.setattr("abaw_ray.cluster.machines.capacity.machines", lambda: [Machine({"CPU": 2.0})])
    capsys.readouterr()
    show_plan(run, stages)
    return capsys.readouterr().out


def test_on_a_cluster_waits_of_all_sizes_are_watched_also_of_tasks_beside_the_workers(run, monkeypatch):
    watched = []

    @contextmanager
    def watch(stage, sizes, minutes):
        yield
        watched.append((stage, set(sizes()), minutes))

    def count_in_a_task(run, store, item):
        run.session.start(TASK)
        return count(run, store, item)

    monkeypatch.setattr("abaw_ray.cluster.engine.stage.watch_waits", watch)
    monkeypatch.setattr(RaySession, "shared", property(lambda self: True))
    one = run()
    WORDS.complete(one)
    replace(TOTAL, work=replace(TOTAL.work, run=count_in_a_task)).complete(one)
    (words, words_sizes, minutes), (total, total_sizes, _) = watched
    assert (words, total, minutes) == ("words", "total", 30.0)
    assert SMALL in words_sizes and TASK not in words_sizes and {SMALL, TASK} <= total_sizes


def test_a_list_of_stages_gets_a_plan_a_run_records_and_report_rows(run, capsys, monkeypatch):
    printed = plan_of(run(), capsys, monkeypatch)
    assert "3 of 3 texts, 28 letters" in printed and "one sum, after words" in printed and "1 x 1 CPU + 0.1 GB" in printed
    records = run_job(run(), (WORDS, TOTAL))
    assert records["total"].figures == {"rows": 1, "total": 6}
    assert [stage_summary(record)["rows"] for record in records.values()] == [6, 1]
    assert [stage_summary(record)["items"] for record in records.values()] == [3, None]
    assert "words: " in capsys.readouterr().out, "a job prints where its results are"
    assert plan_of(run(), capsys, monkeypatch).count("already done") == 2


def test_a_complete_stage_is_skipped_and_only_added_items_are_processed(run):
    first = run_job(run(), (WORDS, TOTAL))
    again = run_job(run(), (WORDS, TOTAL))
    assert first == again and run.processed() == ["text 0", "text 1", "text 2"]
    more = run_job(run(texts=("one", "two words", "three more words", "four")), (WORDS, TOTAL))
    assert run.processed() == ["text 0", "text 1", "text 2", "text 3"]
    assert more["total"].figures["total"] == 7
    assert first["words"].store == more["words"].store and first["total"].outputs != more["total"].outputs


def test_a_summary_of_all_outputs_covers_those_of_earlier_runs_too(run):
    assert run_job(run(), (WORDS,))["words"].figures == {"rows": 6, "longest": 3}
    assert run_job(run(texts=("three more words", "four")), (WORDS,))["words"].figures["longest"] == 3
    assert run_job(run(texts=("three more words", "four", "five six")), (WORDS,))["words"].figures == {"rows": 6, "longest": 3}


def test_a_warning_is_printed_by_the_plan_and_by_an_unfinished_run(run, capsys, monkeypatch):
    assert "  WARNING texts: one is short\n" in plan_of(run(), capsys, monkeypatch)
    run_job(run(), (WORDS,))
    assert "warning: texts: one is short" in capsys.readouterr().out
    run_job(run(), (WORDS,))
    assert "warning: " not in capsys.readouterr().out


def test_other_settings_change_the_address_of_the_stage_and_of_those_after_it(run):
    upper = WordsConfig(upper=True)
    assert WORDS.store(run()).path != WORDS.store(run(words=upper)).path
    assert TOTAL.store(run()).path != TOTAL.store(run(words=upper)).path
    workers = replace(run().compute, decode=Resources(workers=3))
    assert WORDS.store(run()).path == WORDS.store(run(compute=workers)).path, "compute settings are not part of the address"


def test_failed_items_are_reported_and_a_killed_run_continues_without_repeating_items(run, tmp_path):
    broken = run(texts=("one", ""), policy=Policy(max_failures=0.5))
    record = run_job(broken, (WORDS,))["words"]
    assert stage_summary(record)["failed"] == 1 and record.failures[0]["reason"] == "it is empty"
    for path in (tmp_path / "runs").rglob("records/*.json"):
        path.unlink()  # as if the run had been killed before it wrote its record
    assert run_job(run(texts=("one", "")), (WORDS,))["words"].outputs == record.outputs
    assert run.processed() == ["text 0", "text 1"]


def test_a_stage_whose_input_is_missing_names_the_job_that_makes_it(run, capsys, monkeypatch):
    with pytest.raises(DataError, match="words is not done with these settings; run jobs/words.py with the same preset"):
        run_job(run(), (TOTAL,))
    with pytest.raises(DataError, match="run jobs/words.py"):
        plan_of(run(), capsys, monkeypatch, (TOTAL,))


def test_a_failed_check_of_a_stage_is_reported_before_any_stage_runs(run, capsys, monkeypatch, tmp_path):
    other = run(texts=("whisper",))
    with pytest.raises(ConfigError, match="leave it out"):
        run_job(other, (WORDS, TOTAL))
    with pytest.raises(ConfigError, match="texts: whisper cannot be read; leave it out"):
        plan_of(other, capsys, monkeypatch)
    assert "PROBLEM" not in capsys.readouterr().out, "the only problem is the error, which is printed once"
    assert not (tmp_path / "runs.log").exists()


def test_the_node_exports_items_rows_and_outcomes_of_a_stage_and_the_run_has_its_curves(run):
    observed = run(texts=("one", "two words", "", "four"), policy=Policy(max_failures=0.5))
    run_job(observed, (WORDS,))
    tags = f"stage=words,run={observed.id}"
    remaining, in_progress = f"abaw_ray_items_remaining{{{tags}}}", f"abaw_ray_items_in_progress{{{tags}}}"
    values = wait_for_metrics(lambda values: values.get(remaining) == 0.0)
    assert values[f"abaw_ray_items_total{{{tags},outcome=done}}"] == 3.0
    assert values[f"abaw_ray_items_total{{{tags},outcome=failed}}"] == 1.0
    assert values[f"abaw_ray_rows_total{{{tags}}}"] == 4.0
    assert values.get(in_progress, 0.0) == 0.0, "the worker has ended, or has nothing in work"
    points = {tag: (step, value) for tag, step, value, _ in read_scalars(observed.storage, f"runs/{observed.id}/tensorboard/words")}
    assert points["items/items_remaining"] == (4, 0.0)
    assert points["items/items_failed"] == (4, 1.0)
    assert points["items/rows_per_second"][1] > 0
