"""A column that a stage has read is deleted where the settings do not keep it, and made again for the items that read it once more."""

import json
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abaw_ray.cluster.engine.column_read import ColumnRead
from abaw_ray.cluster.engine.run import Policy, Run, RunConfig
from abaw_ray.cluster.engine.stage import Stage
from abaw_ray.cluster.engine.stage_work import ItemOperator, ItemWork
from abaw_ray.cluster.launch.job import run_job
from abaw_ray.cluster.launch.pipeline import STAGES
from abaw_ray.cluster.launch.plan import show_plan
from abaw_ray.cluster.machines.capacity import Machine
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.chips import CHIPS, open_with_chips
from abaw_ray.cluster.stages.faces import PREPARE_FACES
from abaw_ray.core.errors import ConfigError, ItemError, StageError
from abaw_ray.core.settings import digest
from abaw_ray.core.stage_store.lock import writer_lock
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.storage.filesystems import StorageConfig


@dataclass(frozen=True, kw_only=True)
class BookConfig(RunConfig):
    """Texts, how many letters of each are counted, and whether their letters are kept."""

    texts: tuple[str, ...] = ("one", "two words", "three")
    unreadable: str = ""
    damaged_at: int | None = None
    fails: bool = False
    first: int = 100
    keep_letters: bool = True


def read_text(store, item, payload):
    """One text -> its letters, with their numbers."""
    with open(payload["log"], "a") as log:
        log.write(f"{item.name}\n")
    if payload["unreadable"]:
        raise ItemError("it was deleted")
    text = payload["text"][: payload["damaged_at"]]
    table = pa.table({"number": list(range(len(text))), "letter": list(text)})
    if payload["fails"]:
        store.write_failure(item, ItemError("it is damaged", last_frame=len(text)))
    store.storage.write_table(store.output(item), table)
    if payload["fails"]:
        raise ItemError("it is damaged", last_frame=len(text))
    return {"rows": len(text)}


def count_letters(store, item, payload):
    letters = store.storage.read_table(payload["letters"])
    if "letter" not in letters.column_names:
        raise ItemError("its letters were deleted")
    store.storage.write_table(store.output(item), letters.select(["letter"]).slice(0, payload["first"]))
    return {"rows": len(letters)}


def texts(run):
    config = run.config
    common = {"log": f"{config.storage.uri}.log", "damaged_at": config.damaged_at, "fails": config.fails}
    return {Item(name=text, identity=text): {"text": text, "unreadable": text == config.unreadable} | common for text in config.texts}


def letters(run):
    outputs = READ.require(run).outputs
    return {Item(name=name, identity=digest(path)): {"letters": path, "first": run.config.first} for name, path in outputs.items()}


def operators(function):
    return (ItemOperator(build=lambda run: lambda: function, resources=lambda compute: Resources(workers=1)),)


READ = Stage(
    name="read",
    revision=1,
    settings=lambda config: {},
    work=ItemWork(items=texts, operators=operators(read_text), unit="texts", in_driver=lambda todo: True),
    job="jobs/read.py",
)
COUNT = Stage(
    name="count",
    revision=1,
    settings=lambda config: {"first": config.first},
    inputs=(READ,),
    work=ItemWork(
        items=letters,
        operators=operators(count_letters),
        unit="texts",
        in_driver=lambda todo: True,
        column=ColumnRead(
            stage=READ,
            column="letter",
            text="letters",
            keys=("number",),
            output=lambda payload: payload["letters"],
            keep=lambda config: config.keep_letters,
        ),
    ),
    job="jobs/count.py",
)


MODEL = replace(READ, name="model", revision=2)
"""A stage that is never complete here."""


class NoRay(RaySession):
    """A session that does not start Ray."""

    def start(self, *_, **__):
        pass


@pytest.fixture
def run(tmp_path):
    def make(**changes):
        config = BookConfig(storage=StorageConfig(uri=str(tmp_path / "runs")), **changes)
        return Run(config, NoRay(config.compute))

    return make


@pytest.fixture
def processed(tmp_path):
    """A function that returns the texts that were read since the last call."""
    log = tmp_path / "runs.log"

    def read():
        names = log.read_text().split("\n")[:-1] if log.exists() else []
        log.unlink(missing_ok=True)
        return names

    return read


def columns(run):
    return {name: run.storage.table_schema(path).names for name, path in READ.require(run).outputs.items()}


def count(run, stages=(READ, COUNT)):
    records = run_job(run, stages)
    return {name: run.storage.read_table(path)["letter"].to_pylist() for name, path in records["count"].outputs.items()}


def test_what_is_kept_stays(run):
    count(run())
    assert set(map(tuple, columns(run()).values())) == {("number", "letter")}


def test_the_column_is_deleted_when_the_job_is_complete_and_the_job_stays_done(run, processed, capsys):
    first = count(run(keep_letters=False))
    assert columns(run()) == {"one": ["number"], "two words": ["number"], "three": ["number"]}
    printed = capsys.readouterr().out
    assert "read: letters deleted, " in printed and " are free" in printed
    assert processed() == ["one", "two words", "three"]
    assert count(run(keep_letters=False)) == first and processed() == []
    assert "letters deleted" not in capsys.readouterr().out


def test_a_job_that_does_not_read_the_column_deletes_nothing(run):
    run_job(run(keep_letters=False), (READ,))
    assert columns(run())["one"] == ["number", "letter"]


def test_a_job_that_ends_with_an_error_deletes_nothing(run, monkeypatch):
    def fail(run, records):
        raise OSError("the report")

    with pytest.raises(OSError, match="the report"):
        run_job(run(keep_letters=False), (READ, COUNT), fail)
    assert columns(run())["one"] == ["number", "letter"]


def test_other_settings_make_the_column_again_with_the_same_content(run, processed, capsys):
    whole = count(run(keep_letters=False))
    processed(), capsys.readouterr()
    assert count(run(first=2)) == {name: found[:2] for name, found in whole.items()}
    assert processed() == ["one", "two words", "three"]
    assert "read: texts are processed again, because their letters were deleted" in capsys.readouterr().out
    assert columns(run())["one"] == ["number", "letter"]
    count(run(first=2, keep_letters=False))
    assert columns(run())["one"] == ["number"]


def test_an_additional_item_processes_no_other_one_again(run, processed):
    count(run(keep_letters=False))
    processed()
    more = run(keep_letters=False, texts=("one", "two words", "three", "four"))
    assert count(more)["four"] == list("four") and processed() == ["four"]
    assert columns(more) == {name: ["number"] for name in more.config.texts}


def test_only_what_unfinished_items_read_is_made_again(run, processed):
    count(run(keep_letters=False))
    half = run(first=2, texts=("one",))
    run_job(half, (READ, COUNT))
    processed()
    assert count(run(first=2))["three"] == ["t", "h"] and sorted(processed()) == ["three", "two words"]


def later(run, **changes):
    """A run that reads the column with other settings, and may have failures."""
    config = replace(run(first=2, **changes).config, policy=Policy(max_failures=0.7))
    return Run(config, NoRay(config.compute))


def numbers(run, name="one"):
    return run.storage.read_table(READ.require(run).outputs[name]).to_pydict()


def test_an_item_that_cannot_be_made_again_fails_and_keeps_its_other_columns(run, capsys):
    count(run(keep_letters=False))
    damaged = later(run, unreadable="one")
    assert set(count(damaged)) == {"two words", "three"}
    printed = capsys.readouterr().out
    assert "one: it was deleted" in printed and "one: its letters were deleted" in printed
    assert numbers(damaged) == {"number": [0, 1, 2]}


def test_a_failure_to_make_an_item_again_is_no_failure_of_the_earlier_stage(run, processed):
    count(run(keep_letters=False))
    count(later(run, unreadable="one"))
    processed()
    more = run(texts=("one", "two words", "three", "four"))
    assert not run_job(more, (READ,))["read"].failures and processed() == ["four"]


def test_an_output_is_not_replaced_by_a_shorter_one(run, capsys):
    count(run(keep_letters=False))
    cut = later(run, damaged_at=3)
    assert set(count(cut)) == {"one"}, "the others would have lost rows"
    assert "three: its output is kept as it is, because it has other rows when it is made again" in capsys.readouterr().out
    assert numbers(cut, "three") == {"number": [0, 1, 2, 3, 4]}


def test_an_output_is_not_replaced_by_one_with_a_failure(run):
    count(run(keep_letters=False))
    failing = later(run, damaged_at=5, fails=True, texts=("one", "two words", "three"))
    with pytest.raises(StageError, match="3 of 3 items failed"):
        count(failing)
    assert numbers(failing) == {"number": [0, 1, 2]}
    assert not READ.require(failing).failures


def test_an_interrupted_run_continues_with_what_it_has_made(run, processed, monkeypatch):
    count(run(keep_letters=False))
    processed()
    with monkeypatch.context() as patch:
        patch.setattr("abaw_ray.cluster.engine.items._replace_outputs", interrupt)
        with pytest.raises(KeyboardInterrupt):
            count(run(first=2))
    assert len(processed()) == 3
    assert count(run(first=2))["three"] == ["t", "h"] and processed() == []
    assert columns(run())["three"] == ["number", "letter"]
    assert not run().storage.exists(f"{READ.store(run()).path}/again")


def interrupt(*_):
    raise KeyboardInterrupt


def test_what_would_stop_the_earlier_stage_is_reported_before_any_work(run, processed, monkeypatch):
    def refuse(run):
        raise ConfigError("no weights")

    count(run(keep_letters=False))
    processed()
    object.__setattr__(READ, "check", refuse)
    try:
        with pytest.raises(ConfigError, match="no weights"):
            count(run(first=2))
        count(run())
        assert processed() == []
    finally:
        object.__setattr__(READ, "check", lambda run: None)


def test_a_store_that_another_job_writes_is_left_as_it_is(run, capsys, tmp_path):
    busy = run(keep_letters=False)
    count(run())
    with writer_lock(busy.storage, READ.store(busy).path):
        count(busy)
    assert "warning: the letters are not deleted, the next run of this command continues: " in capsys.readouterr().out
    assert columns(run())["one"] == ["number", "letter"]


@pytest.fixture
def plan(run, capsys, monkeypatch):
    """A function that returns what the plan prints."""
    monkeypatch.setattr("abaw_ray.cluster.machines.capacity.machines", lambda: [Machine({"CPU": 2.0, "memory": 8e9})])

    def show(stages=(READ, COUNT), **changes):
        capsys.readouterr()
        show_plan(run(plan=True, **changes), stages)
        return capsys.readouterr().out

    return show


def test_the_plan_lists_what_is_processed_again_and_makes_nothing(run, plan):
    count(run(keep_letters=False))
    assert "count: the letters of 3 texts were deleted; these are processed again first" in plan(first=2)
    assert "were deleted" not in plan()
    assert columns(run())["one"] == ["number"]


def test_two_stages_that_read_the_column_are_one_line_of_the_plan(run, plan):
    count(run(keep_letters=False))
    second = replace(COUNT, name="count_again")
    assert plan((READ, COUNT, second), first=2).count("were deleted") == 1


def test_the_plan_lists_it_where_another_input_of_the_stage_is_not_there_yet(run, plan):
    count(run(keep_letters=False))
    waiting = replace(COUNT, name="count_with", inputs=(READ, MODEL), work=replace(COUNT.work, items=lambda run: MODEL.require(run) and letters(run)))
    assert "count_with: the letters of 3 texts were deleted" in plan((READ, MODEL, waiting))


def test_every_stage_that_reads_face_outputs_item_by_item_declares_it():
    readers = [stage.name for stage in STAGES if isinstance(stage.work, ItemWork) and PREPARE_FACES in stage.inputs]
    assert readers == [stage.name for stage in STAGES if isinstance(stage.work, ItemWork) and stage.work.column is CHIPS]
    assert len(readers) == 4


def test_a_face_output_without_chips_is_an_error_of_its_video(tmp_path):
    path = tmp_path / "faces.parquet"
    pq.write_table(pa.table({"frame": [1]}), path)
    with pytest.raises(ItemError, match="face crops were deleted: "):
        open_with_chips(path)
    pq.write_table(pa.table({"frame": [1], "chip": [b""]}), path)
    with open_with_chips(path) as file:
        assert file.metadata.num_rows == 1


def test_records_name_the_settings_of_the_job_as_before(run):
    """A deletion changes no record: the later stage finds its input by it."""
    count(run())
    before = json.dumps(vars(READ.require(run())), sort_keys=True)
    count(run(keep_letters=False))
    assert json.dumps(vars(READ.require(run())), sort_keys=True) == before
