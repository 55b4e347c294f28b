"""Every preset of every job can be built, and its settings fit together, without a machine to run it."""

from dataclasses import replace

import pytest

from abaw_ray.cli.jobs import JOBS
from abaw_ray.cluster.launch.config import AblationConfig
from abaw_ray.cluster.launch.presets import PRESETS, SEARCHES
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.settings import to_plain
from abaw_ray.encoder.folds.config import FoldEncodersConfig


def test_there_are_three_presets_and_paper_names_the_published_models():
    assert set(PRESETS) == {"paper", "demo", "smoke"}
    paper = PRESETS["paper"][1]
    assert paper.encoder.model.name == "vit_large_patch14_dinov2.lvd142m"
    assert paper.faces.chips.size == paper.encoder.model.img_size == 224
    assert len(paper.faces.chips.scales) == 3
    assert paper.sweep.folds == 5
    assert paper.encoder.classes[-1] == "Contempt"


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", JOBS)
def test_a_job_has_the_settings_of_the_pipeline_for_its_stages(name, preset):
    pipeline, job = to_plain(PRESETS[preset][1]), to_plain(JOBS[name].presets[preset][1])
    own = {"search": {"search": to_plain(SEARCHES[preset])}, "ablation": {"ablation": to_plain(AblationConfig())}}.get(name, {})
    assert job == {key: pipeline[key] for key in job.keys() - own.keys()} | own


def test_settings_of_two_stages_that_contradict_each_other_are_refused_before_anything_runs():
    demo = PRESETS["demo"][1]
    with pytest.raises(ConfigError, match=r"faces.chips.size=98 is not encoder.model.img_size=70"):
        replace(demo, faces=replace(demo.faces, chips=replace(demo.faces.chips, size=98)))


def test_a_bundle_of_five_models_with_encoders_of_their_own_is_refused():
    demo, folds = PRESETS["demo"][1], FoldEncodersConfig(epochs=1)
    with pytest.raises(ConfigError, match=r"bundle.protocol=cv with fold_encoders.epochs=1: .*; set bundle.protocol to official"):
        replace(demo, fold_encoders=folds)
    assert replace(demo, fold_encoders=folds, bundle=replace(demo.bundle, protocol="official")).fold_encoders.are_trained
    for wrong in ({"epochs": -1}, {"images": 0}, {"interval_s": -0.1}):
        with pytest.raises(ConfigError, match="fold_encoders"):
            FoldEncodersConfig(**wrong)


def test_settings_of_stages_contain_neither_locations_nor_numbers_of_workers():
    plain = to_plain(PRESETS["demo"][1])
    for stage in ("faces", "encoder", "features", "sweep"):
        text = str(plain[stage])
        assert "runs/demo" not in text
        assert "workers" not in text
