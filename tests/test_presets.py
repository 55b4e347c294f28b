"""Every preset of every job can be built, shown and changed from the command line, without a machine to run it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from abaw_ray.cluster.engine.compute import compute_preset
from abaw_ray.cluster.launch.command import one_line, parse
from abaw_ray.cluster.launch.config import EncoderJob, FacesJob, FeaturesJob, PipelineConfig, SweepJob
from abaw_ray.cluster.launch.presets import PRESETS, presets_of
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.settings import digest, to_plain

ROOT = Path(__file__).parents[1]

JOBS = {
    "prepare_faces": FacesJob,
    "train_encoder": EncoderJob,
    "extract_features": FeaturesJob,
    "sweep_fusion": SweepJob,
    "predict": SweepJob,
    "pipeline": PipelineConfig,
}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("job", JOBS)
def test_the_command_line_gives_each_preset_of_a_job_unchanged(job, preset):
    built = parse(presets_of(JOBS[job]), [preset])
    assert isinstance(built, JOBS[job])
    assert digest(built) == digest(presets_of(JOBS[job])[preset][1])


def test_the_list_of_jobs_is_complete():
    assert {path.stem for path in (ROOT / "jobs").glob("*.py")} == set(JOBS)


def test_there_are_three_presets_and_paper_names_the_published_models():
    assert set(PRESETS) == {"paper", "demo", "smoke"}
    paper = PRESETS["paper"][1]
    assert paper.encoder.model.name == "vit_large_patch14_dinov2.lvd142m"
    assert paper.faces.chips.size == paper.encoder.model.img_size == 224
    assert len(paper.faces.chips.scales) == 3
    assert paper.sweep.folds == 5
    assert paper.encoder.classes[-1] == "Contempt"


def test_options_of_the_stage_that_a_job_runs_need_no_prefix():
    assert parse(presets_of(EncoderJob), ["demo", "--optim.lr", "3e-5"]).encoder.optim.lr == 3e-5
    assert parse(presets_of(PipelineConfig), ["demo", "--encoder.optim.lr", "3e-5"]).encoder.optim.lr == 3e-5
    job = parse(presets_of(FacesJob), ["demo", "--storage", "s3://bucket/runs", "--endpoint=http://127.0.0.1:1", "--retry-failures"])
    assert (job.storage.uri, job.storage.endpoint, job.policy.retry_failures) == ("s3://bucket/runs", "http://127.0.0.1:1", True)


def test_a_cluster_size_sets_all_of_compute_and_single_options_change_it():
    size = compute_preset("gpu-4x2")
    job = parse(presets_of(PipelineConfig), ["paper", "--cluster-size", "gpu-4x2", "--compute.trials.workers", "3"])
    assert job.compute == replace(size, trials=replace(size.trials, workers=3)) and job.cluster_size == "gpu-4x2"
    assert parse(presets_of(PipelineConfig), ["paper", "--cluster-size=laptop"]).compute == compute_preset("laptop")
    with pytest.raises(ConfigError, match="--cluster-size gpu-4 is unknown"):
        parse(presets_of(PipelineConfig), ["paper", "--cluster-size", "gpu-4"])


@pytest.mark.parametrize("job", [FacesJob, FeaturesJob, SweepJob, PipelineConfig])
def test_every_job_with_faces_has_their_short_options(job):
    assert parse(presets_of(job), ["paper", "--detector", "haar"]).faces.detector.kind == "haar"
    faces = parse(presets_of(job), ["demo", "--detector=yunet", "--weights", "yunet.onnx", "--chips", "none"]).faces
    assert (faces.detector.kind, faces.detector.weights, faces.chips.keep) == ("yunet", "yunet.onnx", "none")


def test_a_job_without_faces_has_no_such_options():
    with pytest.raises(ConfigError, match="--detector"):
        parse(presets_of(EncoderJob), ["demo", "--detector", "haar"])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["demo", "--optim.lrr", "1"], "--optim.lrr.*did you mean --optim.lr"),
        (["demo", "--optim.lr", "fast"], "--optim.lr.*fast"),
        (["demmo"], "demmo.*paper"),
        ([], "paper"),
        (["demo", "--epochs", "0"], "epochs=0 must be at least 1"),
    ],
)
def test_an_invalid_command_line_is_an_error_of_one_line_that_names_the_option(args, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse(presets_of(EncoderJob), args)
    assert "\n" not in str(caught.value)


def test_settings_of_two_stages_that_contradict_each_other_are_refused_before_anything_runs():
    demo = PRESETS["demo"][1]
    with pytest.raises(ConfigError, match=r"faces.chips.size=98 is not encoder.model.img_size=70"):
        replace(demo, faces=replace(demo.faces, chips=replace(demo.faces.chips, size=98)))


@pytest.mark.slow
def test_the_help_of_a_job_documents_its_settings():
    done = subprocess.run([sys.executable, "jobs/prepare_faces.py", "demo", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--chips.scales" in done.stdout
    assert "Sides of the squares" in done.stdout


def test_settings_of_stages_contain_neither_locations_nor_numbers_of_workers():
    plain = to_plain(PRESETS["demo"][1])
    for stage in ("faces", "encoder", "features", "sweep"):
        text = str(plain[stage])
        assert "runs/demo" not in text
        assert "workers" not in text


def test_an_error_box_of_unknown_form_is_reduced_to_one_line():
    assert one_line("╭─ Odd ─╮\n│ something is wrong │\n╰──╯") == "Odd (see --help)"
    assert one_line("│ something is wrong │") == "something is wrong (see --help)"
