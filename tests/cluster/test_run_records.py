"""Records of runs: what they have after success, an error and a stop; the list, one run, and two side by side."""

import json
import re
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from abaw_ray.cli.runs import main
from abaw_ray.cluster.engine.run import Policy, Run, RunConfig
from abaw_ray.cluster.launch.config import AnalyzeConfig
from abaw_ray.cluster.launch.presets import SMOKE
from abaw_ray.cluster.launch.run_records import machine_hours
from abaw_ray.cluster.launch.run_records import recorder as recorder_module
from abaw_ray.cluster.launch.run_records.machine_hours import MachineHours
from abaw_ray.cluster.launch.run_records.record import find_run, list_runs
from abaw_ray.cluster.launch.run_records.recorder import Recorder, recorded
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.stage_store.record import Record
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.features.config import DeviceConfig
from abaw_ray.predict.config import AnalysisConfig, OutputConfig
from abaw_ray.scoring.evaluation import Evaluation, evaluations_table
from abaw_ray.scoring.metrics import macro_f1


class Stage:
    """A stage that gives a record, or raises an error."""

    def __init__(self, name, figures=None, error=None):
        self.name, self.figures, self.error = name, figures or {}, error

    def complete(self, run):
        if self.error:
            raise self.error
        outputs = {"run": f"{self.name}/{run.id}", "b": "b.parquet"}
        return Record(stage=self.name, store="", outputs=outputs, failures=[], settings={}, inputs=[], figures=self.figures, seconds=1.0, revision=1)


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a run of a command."""

    def start(command="pipeline", **settings):
        config = RunConfig(storage=StorageConfig(uri=str(tmp_path / "results")), **settings)
        return Run(config, RaySession(config.compute), command=command)

    return start


FUSION = {"cv": {"cross_fitted": {"mean": 0.5}}}
ENCODER = {"data_sets": {"RAF-DB": {"macro_f1": 0.8}}}


def test_where_and_how_a_run_works_is_no_part_of_its_settings(tmp_path):
    def settings(**changes):
        storage = StorageConfig(uri=str(tmp_path / "results"))
        return Recorder(Run(replace(SMOKE, storage=storage, **changes), RaySession(SMOKE.compute))).record.settings

    assert settings() == settings(keep_chips=False, policy=Policy(max_failures=0.5), compute=ComputeConfig(chunk_minutes=1.0))
    assert settings() != settings(encoder=replace(SMOKE.encoder, epochs=99))

    def of_analysis(**changes):
        config = AnalyzeConfig(model="model", storage=StorageConfig(uri=str(tmp_path / "results")), **changes)
        return Recorder(Run(config, RaySession(config.compute))).record.settings

    assert of_analysis() == of_analysis(json=True, keep_chips=True, outputs=OutputConfig(format="parquet"), device=DeviceConfig(device="cpu"))
    assert of_analysis() != of_analysis(analysis=AnalysisConfig(fps=5.0))


def test_a_record_has_the_stages_the_scores_and_the_end(start):
    run = start()
    with recorded(run) as recorder:
        assert find_run(run.storage, "last").status == "running"
        recorder.complete(Stage("encoder", ENCODER))
        recorder.complete(Stage("fusion", FUSION))
    record = find_run(run.storage, run.id)
    assert (record.command, record.status, record.error) == ("pipeline", "done", "")
    assert record.finished >= record.started and record.code and record.host
    assert record.scores == {"encoder RAF-DB": 0.8, "cv": 0.5}
    assert [(name, stage.items, stage.failed, stage.already_done) for name, stage in record.stages.items()] == [
        ("encoder", 2, 0, False),
        ("fusion", 2, 0, False),
    ]


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [(DataError("clip.mp4: no video"), "failed", "clip.mp4: no video"), (KeyboardInterrupt(), "stopped", ""), (ValueError(), "failed", "ValueError")],
)
def test_a_record_has_what_ended_the_run(start, error, status, text):
    run = start()

    def work():
        with recorded(run) as recorder:
            recorder.complete(Stage("faces"))
            recorder.complete(Stage("encoder", error=error))

    with pytest.raises(type(error)):
        work()
    record = find_run(run.storage, run.id)
    assert (record.status, record.error) == (status, text)
    assert {name: stage.finished for name, stage in record.stages.items()} == {"faces": True, "encoder": False}
    assert record.finished


def cluster_file(tmp_path, **prices):
    path = tmp_path / "cluster.yaml"
    types = {"head": {"node_config": {"InstanceType": "m7i.xlarge"}}, "gpu": {"node_config": {"InstanceType": "g5.2xlarge"}}}
    path.write_text(yaml.safe_dump({"provider": {"type": "aws", "prices": prices}, "head_node_type": "head", "available_node_types": types}))
    return str(path)


def test_a_stage_costs_its_machine_hours_at_the_prices_of_the_cluster_file_also_where_it_failed(start, tmp_path, monkeypatch, capsys):
    file = cluster_file(tmp_path, date="2026-11-29", usd_per_hour={"m7i.xlarge": 0.2, "g5.2xlarge": 0.5})
    hours = {"faces": {"m7i.xlarge": 2.0, "gpu": 4.0}, "encoder": {"head": 1.0}, "fusion": {"unknown": 1.0}}
    monkeypatch.setattr(MachineHours, "of", lambda self, stage: hours[stage])

    def work(run, name):
        with recorded(run) as recorder:
            recorder.complete(Stage("faces"))
            recorder.complete(Stage(name, error=DataError("broken")))

    runs = [start(cluster_file=file), start(cluster_file=file)]
    for run, name in zip(runs, ("encoder", "fusion"), strict=True):
        with pytest.raises(DataError):
            work(run, name)
    record, without = (find_run(run.storage, run.id) for run in runs)
    assert (record.prices, record.stages["faces"].usd, record.stages["encoder"].usd, record.usd) == ("2026-11-29", 2.4, 0.2, pytest.approx(2.6))
    assert (without.stages["fusion"].usd, without.usd) == (None, None), "a machine without a price is not free"
    assert main("runs", [runs[0].storage.uri(), "--show", record.id]) == 0
    shown = capsys.readouterr().out
    assert "2.60, prices of 2026-11-29" in shown and "s, unfinished" in shown
    assert main("runs", [runs[0].storage.uri(), "--show", record.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["usd"] == pytest.approx(2.6)


def test_what_follows_the_last_stage_has_hours_of_its_own(start):
    run = start()

    def report():
        with recorded(run) as recorder:
            recorder.complete(Stage("fusion", FUSION))
            with recorder.finishing():
                raise DataError("no font")

    with pytest.raises(DataError):
        report()
    assert {name: stage.finished for name, stage in find_run(run.storage, run.id).stages.items()} == {"fusion": True, "finish": False}
    again = start()
    with recorded(again) as recorder:
        with suppress(DataError):
            recorder.complete(Stage("analyze", error=DataError("no video")))
        with recorder.finishing():
            pass
    stages = find_run(run.storage, again.id).stages
    assert [(name, stage.finished, [*stage.machine_hours]) for name, stage in stages.items()] == [
        ("analyze", False, ["this machine"]),
        ("finish", True, ["this machine"]),
    ]


def test_a_killed_run_leaves_the_hours_of_the_stage_that_ran(start, monkeypatch):
    run = start()
    monkeypatch.setattr(recorder_module, "_WRITE_INTERVAL_S", 0.0)
    monkeypatch.setattr(machine_hours, "_INTERVAL_S", 0.01)
    found = []

    class Slow(Stage):
        def complete(self, run):
            while not found:  # until the thread has written a record
                found.extend(stage for stage in find_run(run.storage, run.id).stages.values() if stage.machine_hours)
            return super().complete(run)

    with recorded(run) as recorder:
        recorder.complete(Slow("faces"))
    assert not found[0].finished and find_run(run.storage, run.id).stages["faces"].finished


def test_machine_hours_are_those_of_the_machines_that_were_there_in_each_stage():
    now, machines = [0.0], {}
    hours = MachineHours(lambda: machines, clock=lambda: now[0])
    for stage, seconds, there in (("faces", 3600, {"cpu": 2}), ("encoder", 1800, {"cpu": 1, "gpu": 4}), ("encoder", 1800, {"gpu": 3})):
        hours.begin(stage)
        machines.clear()
        machines.update(there)
        now[0] += seconds
        hours.sample()
    assert hours.of("faces") == {"cpu": 2.0}
    assert hours.of("encoder") == {"cpu": 0.5, "gpu": 3.5}
    assert hours.of("fusion") == {}


def test_machines_that_cannot_be_counted_for_a_while_are_those_of_the_last_answer():
    now, answers = [0.0], []

    def machines():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    hours = MachineHours(machines, clock=lambda: now[0])
    for answer in ({}, {"cpu": 2}, {}, RuntimeError("no answer"), {"cpu": 1}):
        now[0] += 3600
        answers.append(answer)
        hours.sample()
    assert hours.of("") == {"cpu": 2 + 2 + 2 + 1}, "none before the first answer"


def test_a_run_is_found_by_the_beginning_of_its_name(start):
    runs = [start(), start()]
    for run in runs:
        with recorded(run):
            pass
    assert [record.id for record in list_runs(runs[0].storage)] == sorted(run.id for run in runs)
    with pytest.raises(ConfigError, match="nothing: there is no such run"):
        find_run(runs[0].storage, "nothing")
    with pytest.raises(ConfigError, match="20: 2 runs begin with it"):
        find_run(runs[0].storage, "20")


def test_a_file_that_is_no_record_is_named(start):
    run = start()
    run.storage.write_bytes("runs/x/run.json", b'{"id": 3}')
    with pytest.raises(DataError, match=r"runs/x/run\.json: not a record of a run"):
        list_runs(run.storage)


def test_a_record_that_is_replaced_while_it_is_read_is_read_again(start, monkeypatch):
    run = start()
    with recorded(run):
        pass
    whole, reads = Storage.read_bytes, []

    def cut_off_once(storage, path):
        reads.append(path)
        return whole(storage, path)[: 40 if len(reads) == 1 else None]

    monkeypatch.setattr(Storage, "read_bytes", cut_off_once)
    assert [record.id for record in list_runs(run.storage)] == [run.id]
    assert len(reads) == 2


def test_the_command_lists_shows_and_compares(start, capsys):
    first, second = start(), start(cluster_size="cpu-2")
    for run, figures in ((first, FUSION), (second, {"cv": {"cross_fitted": {"mean": 0.6}}})):
        with recorded(run) as recorder:
            recorder.complete(Stage("fusion", figures))
    uri = first.storage.uri()

    def lines(*args):
        assert main("runs", [uri, *args]) == 0
        return capsys.readouterr().out.splitlines()

    head, *rows = lines()
    assert head.split("  ")[0] == "run" and len(rows) == 3 and rows[-1] == f"records: {uri}/runs"
    assert {row.split()[0] for row in rows[:2]} == {first.id, second.id}
    shown = "\n".join(lines("--show", first.id))
    assert "status         done" in shown and "cv        0.500" in shown and "policy.max_failures" in shown
    compared = lines("--compare", first.id, second.id)
    assert any(line.split() == ["macro-F1", "cv", "0.500", "0.600", "+0.100"] for line in compared)
    assert any(line.split() == ["cluster_size", "cpu-2"] for line in compared)
    assert not any("max_failures" in line for line in compared), "equal settings are left out"
    assert [record["scores"] for record in json.loads("\n".join(lines("--show", second.id, "--json")))] == [{"cv": 0.6}]


def evaluation(correct, recordings=("one", "two", "three")):
    """Three recordings; of each class, 10 frames are annotated, and this many are recognized in each recording."""
    return Evaluation(recordings, np.array([np.eye(8, dtype=int) * n + np.roll(np.eye(8, dtype=int), 1, axis=1) * (10 - n) for n in correct]))


def test_scores_on_the_same_frames_are_compared_by_recording(start, capsys):
    first, second = start(), start()
    by_run = {
        first: {
            "official": evaluation((4, 5, 6)),
            "cv": evaluation((4, 5, 6)),
            "visual": evaluation((4, 5, 6)),
            "official_unsmoothed": evaluation((4, 5, 6)),
        },
        second: {"official": evaluation((5, 6, 7)), "cv": evaluation((5, 6, 7), ("one", "two", "four")), "speech": evaluation((5, 6, 7))},
    }
    for run, evaluations in by_run.items():
        with recorded(run) as recorder:
            recorder.complete(Stage("fusion", FUSION))
            recorder.complete(Stage("predictions", {"official_val": {"macro_f1": macro_f1(evaluations["official"].counts.sum(axis=0))}}))
        folds = {"cv": evaluations.pop("cv")}
        run.storage.write_table(f"fusion/{run.id}/cv/recordings.parquet", evaluations_table(folds))
        run.storage.write_table(f"predictions/{run.id}/recordings.parquet", evaluations_table(evaluations))
    assert main("runs", [first.storage.uri(), "--compare", first.id, second.id]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.endswith("second minus first (95 % interval, paired by recording)")
    scores = [re.split(r"  +", line.removeprefix("macro-F1 ")) for line in lines if line.startswith("macro-F1 ")]
    assert ["official_val", "0.500", "0.600", "+0.100 (+0.100 to +0.100)"] in scores
    assert ["cv, pooled", "0.500", "0.600", "+0.100 (no interval: different frames, or one recording)"] in scores
    assert [name for name, *_ in scores] == ["cv", "official_val", "cv, pooled"], "what one of them lacks is not compared"


def test_runs_whose_results_were_deleted_are_compared_without_intervals(start, capsys):
    first, second = start(), start()
    for run in (first, second):
        with recorded(run) as recorder:
            recorder.complete(Stage("fusion", FUSION))
    assert main("runs", [first.storage.uri(), "--compare", first.id, second.id]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.endswith("second minus first") and any(line.split() == ["macro-F1", "cv", "0.500", "0.500", "+0.000"] for line in lines)


def test_an_empty_storage_has_no_runs_and_two_are_compared(tmp_path, capsys):
    assert main("runs", [str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/runs: no runs\n"
    with pytest.raises(ConfigError, match="1 runs are given; give two"):
        main("runs", [str(tmp_path), "--compare", "x"])


def test_machines_of_a_cluster_are_counted_by_type(monkeypatch):
    from abaw_ray.cluster.machines import autoscaler

    types = (("g5.2xlarge", "gpu"), ("", ""), ("", "node_7aa3"), ("g5.2xlarge", "gpu_on_demand"))
    nodes = [SimpleNamespace(instance_type_name=machine, ray_node_type_name=kind, node_id="7aa3") for machine, kind in types]
    starting = [SimpleNamespace(instance_type_name="g6.xlarge", ray_node_type_name="gpu", node_id="")]
    status = SimpleNamespace(active_nodes=nodes[:1] * 3, idle_nodes=nodes[1:], pending_nodes=starting)
    monkeypatch.setattr(autoscaler, "cluster_status", lambda: status)
    monkeypatch.setattr(autoscaler, "on_demand_types", lambda: {"gpu_on_demand": "g5.2xlarge on demand"})
    assert autoscaler.machine_types() == {"g5.2xlarge": 3, "machine": 2, "g5.2xlarge on demand": 1}
    assert autoscaler.machine_types(starting=True) == autoscaler.machine_types() + Counter({"g6.xlarge": 1})
