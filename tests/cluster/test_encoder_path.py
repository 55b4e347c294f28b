"""With ``encoder.path``, an encoder that was trained before takes the place of Stage I: no still images, and no workers."""

from dataclasses import replace

import pytest

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch.job import run_job
from abaw_ray.cluster.launch.plan import show_plan
from abaw_ray.cluster.launch.presets import SMOKE
from abaw_ray.cluster.machines.capacity import Machine
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.features import EXTRACT_FEATURES
from abaw_ray.cluster.stages.stage_one.encoder import TRAIN_ENCODER
from abaw_ray.cluster.stages.stage_one.images import INGEST_IMAGES
from abaw_ray.core.errors import AbawError, DataError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.data.config import DataConfig

pytestmark = pytest.mark.slow
STAGES = (INGEST_IMAGES, TRAIN_ENCODER)


class NoRay(RaySession):
    """A session that must not be started, except by a plan."""

    def start(self, *arguments, **_):
        assert not arguments, "workers were requested"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that makes a run of the smoke preset without still images and with other settings of the encoder."""
    monkeypatch.setattr("abaw_ray.cluster.machines.capacity.machines", lambda: [Machine({"CPU": 1.0})])

    def make(chip_size=28, plan=False, **changes):
        faces = replace(SMOKE.faces, chips=replace(SMOKE.faces.chips, size=chip_size))
        storage = StorageConfig(uri=str(tmp_path / "runs"), attempts=1)
        config = replace(SMOKE, data=DataConfig(), storage=storage, plan=plan, faces=faces, encoder=replace(SMOKE.encoder, **changes))
        return Run(config, NoRay(config.compute))

    return make


def test_the_encoder_of_a_model_is_copied_without_images_and_without_workers(run, model, capsys):
    started = run(path=str(model))
    (record,) = run_job(started, STAGES).values()
    copied = started.storage.read_bytes(f"{record.outputs['run']}/encoder/model.safetensors")
    assert copied == (model / "encoder/model.safetensors").read_bytes()
    assert record.figures["copied_from"] == str(model) and record.figures["curve"] == []
    assert f"not trained, a copy of {model}" in capsys.readouterr().out
    run_job(run(path=str(model)), STAGES)
    assert "already done" in capsys.readouterr().out


def test_the_address_depends_on_the_content_and_the_pooling_and_not_on_where_it_lies_or_how_training_would_be_done(run, model, tmp_path):
    (tmp_path / "elsewhere").symlink_to(model / "encoder")
    address = TRAIN_ENCODER.store(run(path=str(model))).path
    assert TRAIN_ENCODER.store(run(path=str(tmp_path / "elsewhere"), epochs=3, seed=4)).path == address
    assert TRAIN_ENCODER.store(run(path=str(model), model=replace(SMOKE.encoder.model, pool="cls_mean"))).path != address
    assert TRAIN_ENCODER.store(run(chip_size=70)).path != address


def test_a_plan_shows_the_copy_and_no_images(run, model, capsys):
    show_plan(run(path=str(model), plan=True), STAGES)
    printed = capsys.readouterr().out
    assert "no problems" in printed and "images" not in printed
    assert any(f"a copy of {model}" in line and "in the driver" in line for line in printed.splitlines())


def test_a_plan_names_an_encoder_that_does_not_exist_once(run, tmp_path, capsys):
    with pytest.raises(AbawError, match=r"^encoder\.path=\S+gone\S*: there is no such file or folder; give a folder") as caught:
        show_plan(run(path=f"{tmp_path}/gone", plan=True), STAGES)
    assert "PROBLEM" not in capsys.readouterr().out and "\n" not in str(caught.value)


def test_chips_of_another_size_than_the_input_of_the_encoder_are_refused_before_features_are_extracted(run, model):
    EXTRACT_FEATURES.check(run(path=str(model)))
    with pytest.raises(
        AbawError, match=r"faces\.chips\.size=70 is not the input size of the encoder at encoder\.path=\S+; set faces\.chips\.size=28"
    ):
        EXTRACT_FEATURES.check(run(chip_size=70, path=str(model)))
    own = replace(SMOKE.encoder.model, img_size=None)
    with pytest.raises(AbawError, match=r"not the input size of vit_small_patch14_dinov2\.lvd142m; set faces\.chips\.size=518"):
        EXTRACT_FEATURES.check(run(chip_size=70, model=own))


def test_an_incomplete_encoder_is_named_by_the_setting(run, model, tmp_path):
    (tmp_path / "config.json").write_bytes((model / "encoder/config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(DataError, match=rf"^{tmp_path}: is not a complete saved encoder"):
        run_job(run(path=str(tmp_path)), STAGES)
