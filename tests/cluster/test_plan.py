"""A plan lists the work of a job and all problems, and starts nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
from tiny import TINY

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch.pipeline import STAGES
from abaw_ray.cluster.launch.plan import show_plan
from abaw_ray.cluster.launch.presets import SMOKE
from abaw_ray.cluster.machines.capacity import Machine
from abaw_ray.cluster.machines.compute import compute_preset
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.faces import PREPARE_FACES
from abaw_ray.cluster.stages.features import EXTRACT_FEATURES
from abaw_ray.cluster.stages.sources import data_of, videos
from abaw_ray.cluster.stages.stage_one.encoder import TRAIN_ENCODER
from abaw_ray.cluster.stages.stage_one.images import INGEST_IMAGES
from abaw_ray.core.errors import AbawError, ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.encoder.folds.config import FoldEncodersConfig

CLUSTER_FILE = str(Path(__file__).parents[2] / "cluster.yaml")


class NoRay(RaySession):
    """A session that does not start Ray."""

    def start(self, *_, **__):
        pass


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Data settings of a synthetic data set that exists."""
    folder = tmp_path_factory.mktemp("plan")
    config = replace(SMOKE.data, synthetic_dir=str(folder / "data"), synthetic=TINY)
    run = Run(replace(SMOKE, data=config, storage=StorageConfig(uri=str(folder / "runs"))), NoRay(SMOKE.compute))
    assert data_of(run).affwild2 == f"{config.synthetic_dir}/affwild2"
    return config


@pytest.fixture
def plan(data, tmp_path, monkeypatch, capsys):
    """A function that shows the plan of a pipeline on two CPUs; returns the printed text and the error."""
    monkeypatch.setattr("abaw_ray.cluster.machines.capacity.machines", lambda: [Machine({"CPU": 2.0})])

    def run(stages=STAGES, **changes):
        config = replace(SMOKE, plan=True, data=data, storage=StorageConfig(uri=str(tmp_path / "runs"), attempts=1))
        config = replace(config, **changes)
        error = None
        try:
            show_plan(Run(config, NoRay(config.compute)), stages)
        except AbawError as raised:
            error = raised
        return capsys.readouterr().out, error

    return run


def test_a_plan_does_not_generate_the_synthetic_data_set(plan, data, tmp_path):
    missing = replace(data, synthetic_dir=str(tmp_path / "data"))
    printed, error = plan(data=missing)
    assert error is None and "after the synthetic data set is generated" in printed and printed.count("PROBLEM") == 0
    assert not Path(missing.synthetic_dir).exists()


def test_the_stages_of_encoders_per_fold_are_planned_only_where_there_are_some(plan):
    printed, error = plan()
    assert error is None and not {"annotated_images", "fold_encoders", "fold_features"} & set(printed.split())
    printed, error = plan(fold_encoders=FoldEncodersConfig(epochs=2), bundle=replace(SMOKE.bundle, protocol="official"))
    assert error is None and {"annotated_images", "fold_encoders", "fold_features"} <= set(printed.split())
    assert "6 encoders, 2 epochs each, after" in printed
    assert "6 trainings of 2 epochs over " in printed and "  fold_features: " in printed


def test_a_plan_lists_the_work_and_what_is_already_done(plan, data, tmp_path):
    storage = StorageConfig(uri=str(tmp_path / "runs"))
    run = Run(replace(SMOKE, data=data, storage=storage), NoRay(SMOKE.compute))
    wanted = videos(run)
    store = PREPARE_FACES.store(run)
    for item in list(wanted)[:2]:
        run.storage.write_bytes(store.output(item), b"")
    printed, error = plan()
    assert error is None and "no problems" in printed
    assert f"{len(wanted) - 2} of {len(wanted)} videos, 2 already done" in printed
    assert "after faces and encoder" in printed and "up to all x 1 CPU + 1 GB" in printed


def test_a_plan_estimates_time_and_cost_of_what_is_not_done_on_the_machines_of_a_cluster_file(plan, data, tmp_path):
    small = replace(SMOKE.compute, features=replace(SMOKE.compute.features, gpus=1.0))
    printed, error = plan(cluster_file=CLUSTER_FILE, compute=small)
    lines = {name: line.strip() for line in printed.splitlines() for name in ("faces", "encoder", "features", "fusion") if f"  {name}: " in line}
    assert error is None and lines.keys() == {"faces", "encoder", "features", "fusion"}
    assert "workers on 8 m7i.4xlarge" in lines["faces"] and "vCPU-hours" in lines["faces"] and "USD" in lines["faces"]
    assert "on 1 g5.12xlarge" in lines["features"] and "A10G-hours" in lines["features"]
    assert "2 epochs over 15 images" in lines["encoder"] and "3 trials of 4 candidates" in lines["fusion"]
    assert "these are estimates" in printed and "measured 2026-11-28" in printed and "prices of " in printed
    run = Run(replace(SMOKE, data=data, storage=StorageConfig(uri=str(tmp_path / "runs"))), NoRay(SMOKE.compute))
    frames = [int(lines["faces"].rpartition("; ")[2].split()[0].replace(",", ""))]
    for item in list(videos(run))[:2]:
        run.storage.write_bytes(PREPARE_FACES.store(run).output(item), b"")
    printed, _ = plan(cluster_file=CLUSTER_FILE, compute=small)
    frames.append(int(printed.partition("  faces: ")[2].partition("; ")[2].split()[0].replace(",", "")))
    assert 0 < frames[1] < frames[0]


def test_a_plan_without_prices_has_hours_without_usd(plan):
    printed, error = plan()
    assert error is None and "vCPU-hours" in printed and "USD" not in printed


def test_a_wrong_cluster_file_is_one_line(plan, tmp_path):
    assert str(plan(cluster_file=str(tmp_path / "gone.yaml"))[1]).endswith("gone.yaml: there is no such file")
    (tmp_path / "odd.yaml").write_text("- 1")
    assert "is no cluster file of Ray" in str(plan(cluster_file=str(tmp_path / "odd.yaml"))[1])


def test_a_plan_lists_all_problems_at_once(plan, data, tmp_path):
    (tmp_path / "file").touch()
    model = replace(SMOKE.encoder.model, weights="nowhere/dinov2.safetensors")
    faces = replace(SMOKE.faces, detector=replace(SMOKE.faces.detector, kind="yunet", weights="yunet.onnx"))
    printed, error = plan(
        compute=compute_preset("gpu-2x1"),
        encoder=replace(SMOKE.encoder, model=model),
        faces=faces,
        storage=StorageConfig(uri=str(tmp_path / "file/x"), attempts=1),
    )
    problems = [line for line in printed.splitlines() if line.startswith("PROBLEM")]
    for text in (
        "file/x",
        "yunet.onnx: there is no such file",
        "model.weights=nowhere/dinov2.safetensors: there is no such file",
        "2 workers with 4 CPUs, 1 GPUs and 8 GB of memory each",
    ):
        assert any(text in line for line in problems), (text, problems)
    assert str(error) == f"the plan has {len(problems)} problems, listed above"
    assert len(problems) == len(set(problems)) == 7  # four stages do not fit


def test_a_stage_without_its_input_is_refused_with_the_job_that_makes_it(plan):
    _, error = plan(stages=(EXTRACT_FEATURES,))
    assert "run abaw-ray faces" in str(error)


def test_a_global_batch_that_cannot_be_divided_among_the_ranks_is_a_problem_of_the_plan(plan, monkeypatch):
    monkeypatch.setattr("abaw_ray.cluster.machines.capacity.machines", lambda: [Machine({"CPU": 8.0})])
    _, error = plan(stages=(INGEST_IMAGES, TRAIN_ENCODER), compute=replace(SMOKE.compute, training=Resources(workers=5)))
    assert "cannot be divided among 5 workers" in str(error)


def test_counting_contempt_as_a_missing_class_is_an_error(plan, data):
    assert "data.contempt=other: Other is none of encoder.ingest.classes" in "".join(map(str, plan(data=replace(data, contempt="other"))))


def test_a_weight_of_a_data_set_that_the_run_does_not_use_is_a_problem_of_the_plan(plan):
    weighted = replace(SMOKE.encoder, source_weights=("rafdb=2", "ferplus=2"))
    _, error = plan(stages=(INGEST_IMAGES, TRAIN_ENCODER), encoder=weighted)
    assert str(error) == "encoder.source_weights: 'ferplus' is no data set of this run, which has affectnet, rafdb"
    assert plan(stages=(INGEST_IMAGES, TRAIN_ENCODER), encoder=replace(weighted, source_weights=("rafdb=2",)))[1] is None


def test_a_plan_counts_the_images_of_class_folders_and_reports_an_unknown_class(plan, data, tmp_path):
    for split in ("train", "val"):
        (tmp_path / f"mine/{split}/3").mkdir(parents=True)
        (tmp_path / f"mine/{split}/3/a.png").touch()
    mine = replace(data, use_synthetic=False, image_folders=(str(tmp_path / "mine"),))
    assert "--data.class-map 3=Neutral (or mine/3=Neutral for this data set only" in "".join(map(str, plan(stages=(INGEST_IMAGES,), data=mine)))
    printed, error = plan(stages=(INGEST_IMAGES,), data=replace(mine, class_map=("mine/3=Fear",)))
    assert error is None and "2 of 2 shards" in printed


def test_scales_that_training_does_not_cover_are_a_warning_of_the_plan_once(plan):
    narrow = replace(SMOKE.encoder, augment=replace(SMOKE.encoder.augment, scales=(1.0, 1.2)))
    printed, error = plan(encoder=narrow)
    assert error is None and printed.count("WARNING encoder.augment.scales=1 to 1.2 do not include the features' scales 1.4") == 1


def test_a_detector_without_its_weights_is_a_problem_of_the_still_images_too(plan):
    faces = replace(SMOKE.faces, detector=replace(SMOKE.faces.detector, kind="yunet", weights="yunet.onnx"))
    _, error = plan(stages=(INGEST_IMAGES, TRAIN_ENCODER), faces=faces)
    assert "yunet.onnx: there is no such file" in str(error)


def test_repeated_folds_are_refused_with_encoders_per_fold_which_belong_to_the_first_assignment():
    repeated, bundle = replace(SMOKE.sweep, fold_repeats=2), replace(SMOKE.bundle, protocol="official")
    assert replace(SMOKE, sweep=repeated).sweep.fold_repeats == 2
    with pytest.raises(ConfigError, match="sweep.fold_repeats=2 with fold_encoders.epochs=1: each encoder belongs to its fold"):
        replace(SMOKE, sweep=repeated, bundle=bundle, fold_encoders=FoldEncodersConfig(epochs=1))
    with pytest.raises(ConfigError, match="sweep.fold_repeats=0 must be at least 1"):
        replace(SMOKE.sweep, fold_repeats=0)
