"""The whole pipeline on a few seconds of synthetic video, on a local Ray: once into a folder, once into an object store on loopback."""

import contextlib
import io
import json
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from moto.server import ThreadedMotoServer
from rich.console import Console
from timeouts import TIMEOUT_S
from tiny import TINY

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import needed
from abaw_ray.cluster.launch.ablation.ablate import ablate
from abaw_ray.cluster.launch.config import AblationConfig, AblationJob, PipelineConfig, SweepJob
from abaw_ray.cluster.launch.job import report_again, run_job
from abaw_ray.cluster.launch.pipeline import STAGES, finish
from abaw_ray.cluster.launch.presets import SMOKE
from abaw_ray.cluster.launch.run_records.record import RunFolder, list_runs
from abaw_ray.cluster.launch.run_records.recorder import FINISH
from abaw_ray.cluster.launch.score_tables import score_tables
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.faces import PREPARE_FACES
from abaw_ray.cluster.stages.features import EXTRACT_FEATURES
from abaw_ray.cluster.stages.sources import data_of
from abaw_ray.cluster.stages.stage_two.fusion import SWEEP_FUSION, UNIMODAL, trials_folder
from abaw_ray.cluster.stages.stage_two.predictions import PREDICT
from abaw_ray.cluster.stages.stage_two.tables import CANDIDATES_FILE
from abaw_ray.core import schema
from abaw_ray.core.errors import DataError, StageError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.data.affwild2 import AffWild2
from abaw_ray.media.video import decode
from abaw_ray.scoring.evaluation import read_evaluations

pytestmark = pytest.mark.slow

SYNTHETIC = replace(TINY, fps_range=(8.0, 12.0), affectnet_train_images=48, affectnet_val_images=16, rafdb_train_images=16, rafdb_test_images=8)


class UnusedSession(RaySession):
    """A session that must not be started."""

    def start(self, *_, **__):
        raise AssertionError("Ray was started although all results existed")


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> PipelineConfig:
    root = tmp_path_factory.mktemp("pipeline")
    return replace(
        SMOKE,
        data=replace(SMOKE.data, synthetic_dir=str(root / "data"), synthetic=SYNTHETIC),
        storage=StorageConfig(uri=str(root / "runs")),
        compute=ComputeConfig(object_store_mb=100, decode=Resources(memory_gb=0.2)),
        encoder=replace(SMOKE.encoder, epochs=1),
        sweep=replace(SMOKE.sweep, trials=2, folds=3, final_seeds=2, fold_repeats=2, fusion=replace(SMOKE.sweep.fusion, epochs=2)),
    )


@pytest.fixture(scope="module")
def session(config):
    with RaySession(config.compute) as session:
        yield session


def pipeline(run):
    """Run all stages and write the report; returns the summary."""
    run_job(run, STAGES, finish)
    return json.loads(json.dumps(RunFolder(run.storage, run.id).summary()))


@pytest.fixture(scope="module")
def summary(config, session):
    return pipeline(Run(config, session))


def test_the_summary_has_every_score(config, summary):
    assert len(summary["official_val"]["per_class"]) == len(EXPRESSIONS)
    assert len(summary["cv"]["folds"]) == 3
    for score in (
        summary["official_val"]["macro_f1"],
        summary["cv"]["macro_f1_mean"],
        summary["visual_only"]["macro_f1"],
        summary["audio_only"]["macro_f1"],
        *(baseline["macro_f1"] for baseline in summary["baselines"].values()),
        summary["chance_macro_f1"],
    ):
        assert 0 <= score <= 1
    assert set(summary["stages"]) == {stage.name for stage in needed(Run(config, UnusedSession(config.compute)), STAGES)}
    assert all(stage["rows"] > 0 and stage["seconds"] > 0 for stage in summary["stages"].values())
    assert summary["stages"]["features"]["items"] == summary["stages"]["faces"]["items"] > 0 == summary["stages"]["faces"]["failed"]


def test_every_score_and_difference_has_an_interval_and_follows_from_the_table_of_recordings(config, session, summary):
    run = Run(config, session)
    folder, figures = PREDICT.require(run).outputs["run"], PREDICT.require(run).figures
    evaluations = read_evaluations(run.storage.read_table(f"{folder}/recordings.parquet"))
    official = evaluations["official"]
    assert set(evaluations) == {"official", "visual", "speech", *(f"official_{name}" for name in ("unsmoothed", "without_audio", "without_faces"))}
    assert official.score()["macro_f1"] == summary["official_val"]["macro_f1"]
    assert evaluations["visual"].score()["interval"] == summary["visual_only"]["interval"]
    assert summary["differences"] == {name: official.minus(one) for name, one in evaluations.items() if name != "official"}
    assert summary["audio_gain"] == official.minus_per_class(evaluations["visual"])
    for one in evaluations.values():
        assert one.recordings == official.recordings
        assert (one.counts.sum(axis=-1) == official.counts.sum(axis=-1)).all(), "every labelled frame counts, also where a modality is masked"
    for score in (summary["official_val"], summary["cv"], summary["visual_only"], summary["audio_only"], *summary["baselines"].values()):
        low, high = score["interval"]
        assert 0 <= low <= high <= 1
    assert figures["official_without_audio"]["macro_f1"] == summary["official_without_audio"]["macro_f1"]


def test_the_scores_of_the_five_folds_follow_from_their_table_of_recordings(config, session, summary):
    run = Run(config, session)
    evaluations = read_evaluations(run.storage.read_table(f"{SWEEP_FUSION.require(run).outputs['run']}/cv/recordings.parquet"))
    cross_fitted, in_sample = evaluations["cv"], evaluations["cv_in_sample"]
    assert cross_fitted.score()["macro_f1"] == summary["cv"]["macro_f1"] and cross_fitted.interval() == summary["cv"]["interval"]
    assert in_sample.minus(cross_fitted)["macro_f1"] == pytest.approx(summary["cv"]["optimism"])


def test_the_record_of_the_run_names_the_tables_of_recordings(config, session, summary):
    run = Run(config, session)
    recordings = {
        "fusion": f"{SWEEP_FUSION.require(run).outputs['run']}/cv/recordings.parquet",
        "predictions": f"{PREDICT.require(run).outputs['run']}/recordings.parquet",
    }
    assert recordings in [one.recordings for one in list_runs(run.storage)]
    assert all(run.storage.exists(path) for path in recordings.values())


def test_each_search_has_its_optimism_and_the_score_of_validation_beside_it(summary):
    assert set(summary["searches"]) == {"fused", *UNIMODAL}
    for search in summary["searches"].values():
        assert search["optimism"] == pytest.approx(search["in_sample"] - search["cross_fitted"])
        assert search["interval_optimism"][0] <= search["interval_optimism"][1]
    cv = summary["cv"]
    assert cv["optimism"] == pytest.approx(cv["macro_f1_in_sample"] - cv["macro_f1"]) and len(cv["interval_in_sample"]) == 2
    assert summary["searches"]["fused"]["validation"] == {name: summary["official_val"][name] for name in ("macro_f1", "interval")}
    console = Console(record=True, width=200, file=io.StringIO())
    for table in score_tables(summary):
        console.print(table)
    text = console.export_text()
    fused = summary["searches"]["fused"]
    assert f"{fused['optimism']:+.3f} ({fused['interval_optimism'][0]:+.3f} to {fused['interval_optimism'][1]:+.3f})" in text
    assert f"{summary['cv']['optimism']:+.3f} (" in text and f"{summary['differences']['visual']['macro_f1']:+.3f}" in text


def test_folds_are_stored_with_their_class_counts_and_cv_is_scored_on_other_folds_too(config, session, summary):
    run = Run(config, session)
    fusion = SWEEP_FUSION.require(run)
    rows = run.storage.read_table(f"{fusion.outputs['run']}/folds.parquet").to_pylist()
    assert {row["assignment"] for row in rows} == {"official", "cv", "repeat-1"}
    for assignment, folds in fusion.figures["folds"].items():
        assert len(folds) == config.sweep.folds
        for fold in folds:
            own = [row for row in rows if (row["assignment"], row["fold"]) == (assignment, fold["fold"])]
            assert len(own) == fold["subjects"] > 0
            assert fold["frames"] == {name: sum(row[name] for row in own) for name in EXPRESSIONS}
    repeats = summary["cv"]["repeats"]
    assert (
        repeats["pooled"][0] == summary["cv"]["macro_f1"] and repeats["intervals"][0] == summary["cv"]["interval"] and len(repeats["intervals"]) == 2
    )
    assert len(repeats["macro_f1"]) == 2 and repeats["macro_f1"][0] == summary["cv"]["macro_f1_mean"]
    assert not run.storage.exists(f"{fusion.outputs['run']}/repeat-1"), "the models are those of the first assignment"


def test_no_row_is_dropped_from_video_to_prediction(config, session, summary):
    run = Run(config, session)
    tree = AffWild2(data_of(run).affwild2)
    faces, features, predictions = (stage.require(run) for stage in (PREPARE_FACES, EXTRACT_FEATURES, PREDICT))
    predicted = pa.concat_tables(
        [run.storage.read_table(f"{predictions.outputs['run']}/{name}.parquet", columns=["track", "frame"]) for name in ("validation", "test")]
    )
    for row in tree.videos():
        count = sum(1 for _ in decode(row["uri"]))
        face = schema.conform(run.storage.read_table(faces.outputs[row["video"]]), schema.FACE, stage="test")
        feature = run.storage.read_table(features.outputs[row["video"]])
        for table in (face, feature):
            keys = sorted(zip(table["track"].to_pylist(), table["frame"].to_pylist(), strict=True))
            assert keys == [(track, frame) for track in sorted(s["track"] for s in row["subjects"]) for frame in range(1, count + 1)]
    for subject in tree.subjects:
        if subject.split != "train":
            frames = predicted.filter(pa.compute.equal(predicted["track"], subject.name))["frame"].to_pylist()
            assert frames == list(range(1, len(frames) + 1))


def test_the_submission_has_every_row_of_the_example(config, session, summary):
    example = AffWild2(data_of(Run(config, session)).affwild2).submission_rows()
    rows = Path(summary["submission"]).read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == [f"{name}/{frame:05d}.jpg" for name, frame in example]
    assert summary["submission_rows"]["filled_by"]["past_end"] >= 1


def test_the_report_has_the_scores_and_loads_no_other_file(config, summary):
    page = (Path(config.storage.uri) / "report.html").read_text()
    assert f"{summary['official_val']['macro_f1']:.3f}" in page
    assert "src=" not in page
    assert "synthetic" in page
    candidates = page.partition('<table id="candidates"')[2].partition("</table>")[0]
    assert f"<td>{config.sweep.fusion.optim.lr:.4g}</td>" in candidates, "the first trial changes nothing, and is listed with its settings"


def test_a_second_run_repeats_no_stage_and_starts_no_ray(config, summary):
    again = pipeline(Run(config, UnusedSession(config.compute)))
    assert again == summary


def test_every_run_has_a_record_with_its_stages_scores_and_machine_hours(config, session, summary):
    first, *_, last = list_runs(Run(config, session).storage)
    assert (first.status, last.status) == ("done", "done")
    assert list(first.stages) == [*summary["stages"], FINISH] and not any(stage.already_done for stage in first.stages.values())
    assert all(stage.already_done for name, stage in last.stages.items() if name != FINISH)
    assert first.scores["official_val"] == summary["official_val"]["macro_f1"] and first.scores["cv"] == summary["cv"]["macro_f1_mean"]
    assert first.scores.keys() > {"official_val", "cv"}, "and those of Stage I"
    hours = sum(stage.seconds for stage in first.stages.values()) / 3600
    assert first.machine_hours == {"this machine": pytest.approx(hours, rel=0.2)}
    assert first.settings == last.settings


def test_the_report_of_a_finished_run_is_written_again_without_running_a_stage(config, summary):
    root = Path(config.storage.uri)
    before = (root / "report.html").read_text()
    (root / "report.html").unlink()
    report_again(Run(replace(config, plan=True), UnusedSession(config.compute)), STAGES, finish)
    assert not (root / "report.html").exists()
    again = Run(config, UnusedSession(config.compute))
    report_again(again, STAGES, finish)
    assert (root / "report.html").read_text() == before
    assert RunFolder(again.storage, again.id).summary() == summary


def test_the_report_of_an_unfinished_run_names_the_missing_stage_and_generates_no_data(config, summary, tmp_path):
    other = replace(config, sweep=replace(config.sweep, folds=2))
    with pytest.raises(DataError, match="fusion is not done with these settings; run abaw-ray sweep with the same preset and options first"):
        report_again(Run(other, UnusedSession(config.compute)), STAGES, finish)
    other = replace(config, data=replace(config.data, synthetic_dir=str(tmp_path / "data")), storage=StorageConfig(uri=str(tmp_path / "runs")))
    with pytest.raises(DataError, match="faces is not done with these settings; run abaw-ray faces"):
        report_again(Run(other, UnusedSession(config.compute)), STAGES, finish)
    assert not list(tmp_path.iterdir())


def test_a_stage_without_its_input_is_an_error_that_names_the_job_to_run(config, summary):
    other = replace(config, faces=replace(config.faces, chips=replace(config.faces.chips, quality=50)))
    with pytest.raises(DataError, match="run abaw-ray faces"):
        EXTRACT_FEATURES.require(Run(other, UnusedSession(config.compute)))


def test_a_file_that_is_no_video_is_a_failure_row_and_the_others_are_processed(config, session, summary, tmp_path):
    run = Run(config, session)
    good = AffWild2(data_of(run).affwild2).videos()[0]["uri"]
    (tmp_path / f"good{Path(good).suffix}").write_bytes(Path(good).read_bytes())
    (tmp_path / "bad.mp4").write_text("this is no video")
    (tmp_path / "list.txt").write_text(f"{tmp_path}/good{Path(good).suffix}\n{tmp_path}/bad.mp4\n")
    changed = replace(config, data=replace(config.data, use_synthetic=False, affwild2="", videos=(str(tmp_path / "list.txt"),)))
    record = PREPARE_FACES.complete(Run(changed, session))
    assert [row["item"].endswith("bad.mp4") for row in record.failures] == [True]
    assert len(record.outputs) == 1


@pytest.fixture
def lengthen_annotations(config, session):
    """A function that makes another annotation file too long for its video at each call; restores the files afterwards."""
    paths = sorted(Path(data_of(Run(config, session)).affwild2).rglob("EXPR*/*_Set/*.txt"))
    whole = {path: path.read_text() for path in paths}
    each = iter(paths)

    def lengthen(folder):
        path = next(path for path in each if folder in path.parts)
        path.write_text(whole[path] + "0\n" * 5)
        return path.stem

    yield lengthen
    for path, text in whole.items():
        path.write_text(text)


def test_subjects_whose_annotations_do_not_fit_their_video_are_left_out_and_reported_and_many_are_an_error(
    config, session, summary, lengthen_annotations
):
    name = lengthen_annotations("Train_Set")
    left_out = pipeline(Run(config, session))
    (row,) = left_out["failures"]
    assert {name: stage.get("failed") for name, stage in left_out["stages"].items() if stage.get("failed")} == {"fusion": 1}
    assert row["item"] == name and re.search(r"\d+ annotation rows for \d+ decoded frames; .* check that video and annotation", row["reason"])
    assert left_out["official_val"]["macro_f1"] > 0 and "left out" in (Path(config.storage.uri) / "report.html").read_text()
    lengthen_annotations("Validation_Set")
    with pytest.raises(StageError, match=r"2 of 9 annotated subjects cannot be used; at most 1.0% \(and at least 1\) may fail; first "):
        SWEEP_FUSION.complete(Run(config, session))


def kill_once(title: str) -> int:
    """Kill the first process of this test's Ray whose title begins with ``title``, and return its id."""
    ends = time.monotonic() + TIMEOUT_S
    while time.monotonic() < ends:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if " ".join(process.cmdline()).startswith(title):
                    process.kill()
                    psutil.wait_procs([process], timeout=10)
                    return process.pid
        time.sleep(0.005)
    raise AssertionError(f"no {title} within two minutes")


def test_a_larger_sweep_begins_with_the_trials_of_a_smaller_one(config, session, summary):
    run, larger = Run(config, session), Run(replace(config, sweep=replace(config.sweep, trials=5)), session)
    assert SWEEP_FUSION.store(larger).path != SWEEP_FUSION.store(run).path
    assert len(run.storage.files(trials_folder(larger))) == config.sweep.trials * len(("fused", *UNIMODAL))


def test_another_choice_among_the_candidates_of_a_sweep_trains_none_again(config, session, summary):
    run, other = Run(config, session), Run(replace(config, sweep=replace(config.sweep, min_gain_se=2.0)), session)
    assert SWEEP_FUSION.store(other).path != SWEEP_FUSION.store(run).path
    assert trials_folder(other) == trials_folder(run)


def candidates(run, record):
    """Rows of the sweep's table of candidates."""
    return run.storage.read_table(f"{record.outputs['run']}/{CANDIDATES_FILE}").to_pylist()


def test_a_trial_that_is_killed_more_often_than_tune_retries_gives_the_same_result(config, session, summary, tmp_path):
    undisturbed = Run(config, session)
    before = candidates(undisturbed, SWEEP_FUSION.require(undisturbed))
    shutil.copytree(config.storage.uri, tmp_path / "runs", ignore=shutil.ignore_patterns("fusion", "predictions"))
    copied = replace(config, storage=StorageConfig(uri=str(tmp_path / "runs")), data=data_of(undisturbed), sweep=replace(config.sweep, trials=1))
    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(lambda: {kill_once("ray::ImplicitFunc.train") for _ in range(3)})
        after = SWEEP_FUSION.complete(Run(copied, session))
        assert len(killed.result()) == 3
    first = [row for row in before if row["trial"] == 1]
    assert [{name: row.get(name) for name in first[0]} for row in candidates(Run(copied, session), after)] == first


def test_predictions_whose_process_is_killed_are_repeated_with_the_same_result(config, session, summary, tmp_path):
    undisturbed = Run(config, session)
    before = PREDICT.require(undisturbed)
    shutil.copytree(config.storage.uri, tmp_path / "runs", ignore=shutil.ignore_patterns("predictions"))
    run = Run(replace(config, storage=StorageConfig(uri=str(tmp_path / "runs")), data=data_of(undisturbed)), session)
    with ThreadPoolExecutor(1) as pool:
        killed = pool.submit(kill_once, "ray::score")
        after = PREDICT.complete(run)
        assert killed.result() > 0
    assert after.outputs == before.outputs and after.figures["official_val"] == before.figures["official_val"]
    for name in ("validation", "test"):
        table = f"{before.outputs['run']}/{name}.parquet"
        assert run.storage.read_table(table).equals(undisturbed.storage.read_table(table))


def test_an_ablation_uses_the_results_of_the_pipeline_and_is_continued(config, session, summary, capsys):
    run = Run(config, session)
    sweep = replace(config.sweep, trials=1, folds=2, final_seeds=1, fold_repeats=1, unimodal=False)
    shared = {field.name: getattr(config, field.name) for field in fields(SweepJob)} | {"data": data_of(run), "sweep": sweep}
    run = Run(AblationJob(**shared, ablation=AblationConfig(parts=("gate", "audio"), seeds=(config.sweep.seed,))), session)
    ablate(run)
    rows = json.loads(run.storage.read_bytes("ablation.json"))["rows"]
    assert [row["scored"] for row in rows] == ["Validation_Set", "against a model of the faces", "against audio masked"]
    assert all(0 <= row["with_part"][0] <= 1 and len(row["interval"]) == 2 for row in rows)
    printed = capsys.readouterr().out
    assert all(printed.count(f"{stage}: already done") == 2 for stage in ("faces", "encoder", "features"))
    ablate(run)
    assert json.loads(run.storage.read_bytes("ablation.json"))["rows"] == rows
    assert "predictions: already done" in capsys.readouterr().out


@pytest.fixture
def bucket(monkeypatch):
    """Endpoint of an S3 server on loopback with the bucket ``results``."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    import boto3

    boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1").create_bucket(Bucket="results")
    yield f"http://{host}:{port}"
    server.stop()


def test_an_object_store_gets_the_same_results_as_a_folder_also_where_the_encoder_of_its_model_replaces_stage_one(config, summary, bucket):
    """Last in this file, because it restarts Ray: its workers need the keys of the store in their environment."""
    import ray

    local = Run(config, UnusedSession(config.compute))
    here = {stage.name: stage.require(local) for stage in (PREPARE_FACES, EXTRACT_FEATURES, PREDICT)}
    ray.shutdown()
    data, encoder = replace(data_of(local), affectnet="", rafdb=""), replace(config.encoder, path=f"{config.storage.uri}/model")
    remote = replace(config, storage=StorageConfig(uri="s3://results/pipeline", endpoint=bucket), data=data, encoder=encoder)
    with RaySession(remote.compute, remote.storage) as session:
        run = Run(remote, session)
        stored = pipeline(run)
        there = {stage.name: stage.require(run) for stage in (PREPARE_FACES, EXTRACT_FEATURES, PREDICT)}
    assert here["faces"].outputs == there["faces"].outputs
    for stage, record in here.items():
        assert record.outputs.keys() == there[stage].outputs.keys()
        for item, output in record.outputs.items():
            for name in ("",) if output.endswith(".parquet") else ("/validation.parquet", "/test.parquet"):
                stored_table = run.storage.read_table(there[stage].outputs[item] + name)
                assert local.storage.read_table(output + name).equals(stored_table), output + name
    assert here["features"].outputs.keys() == here["faces"].outputs.keys()
    assert stored["submission"].startswith("s3://results/pipeline/")
    submission = stored["submission"].removeprefix("s3://results/pipeline/")
    assert run.storage.read_bytes(submission) == Path(summary["submission"]).read_bytes()

    assert set(stored["stages"]) == set(summary["stages"]) - {"images"}
    assert stored["official_val"] == summary["official_val"]
    model = "model/encoder/model.safetensors"
    assert run.storage.read_bytes(model) == local.storage.read_bytes(model)
    assert f"those of the encoder {encoder.path}" in json.loads(run.storage.read_bytes("model/bundle.json"))["training_data"]
    assert "The encoder was not trained in this run" in run.storage.read_bytes("report.html").decode()
