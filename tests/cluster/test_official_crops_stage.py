"""Official crops in place of detected faces: items of the stage, and the outputs of its work, without Ray."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch.presets import SMOKE
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages import faces
from abaw_ray.cluster.stages.faces import PREPARE_FACES, face_items, split_tasks
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.media.write import write_video

HEADER = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"


@pytest.fixture
def config(tmp_path):
    """An Aff-Wild2 tree with one video per split; the first one has crops of its frames 1 and 3."""
    root = tmp_path / "affwild2"
    for name, split in (("12", "Train_Set"), ("200", "Validation_Set")):
        annotations = root / "EXPR_Recognition_Challenge" / split
        annotations.mkdir(parents=True)
        (annotations / f"{name}.txt").write_text("\n".join([HEADER, "0", "1", "4"]))
        (root / "batch1").mkdir(exist_ok=True)
        write_video(root / f"batch1/{name}.mp4", [np.full((48, 64, 3), 80, np.uint8)] * 3, np.arange(3) / 10, None, preset="ultrafast")
    (root / "cropped/12").mkdir(parents=True)
    for number in (1, 3):
        cv2.imwrite(str(root / f"cropped/12/{number:05d}.jpg"), np.full((80, 80, 3), 120, np.uint8))
    data = replace(SMOKE.data, use_synthetic=False, affwild2=str(root), affectnet="", rafdb="", affwild2_crops="cropped")
    return replace(SMOKE, data=data, storage=StorageConfig(uri=str(tmp_path / "runs")))


def run_of(config):
    return Run(config, RaySession(config.compute))


def test_items_have_the_folder_of_each_subject_and_another_identity_than_without_crops(config):
    run, without = run_of(config), run_of(replace(config, data=replace(config.data, affwild2_crops="")))
    crops = {item.name: payload["crops"] for item, payload in face_items(run).items()}
    assert crops == {"12": {"12": f"{config.data.affwild2}/cropped/12"}, "200": {"200": ""}}
    assert {item.identity for item in face_items(run)}.isdisjoint(item.identity for item in face_items(without))


def test_scales_beyond_the_borders_of_the_crops_are_a_warning(config):
    def warnings(scales, **data):
        faces = replace(config.faces, chips=replace(config.faces.chips, scales=scales))
        return PREPARE_FACES.warnings(run_of(replace(config, faces=faces, data=replace(config.data, **data))))

    (warning,) = warnings((1.0, 1.3, 1.7))
    assert warning.startswith("faces.chips.scales 1.3 1.7: the official crops show about 1.25 times the face (faces.crop_scale)")
    assert warnings((1.0, 1.25)) == () and warnings((1.0, 1.7), affwild2_crops="") == ()


def test_videos_with_crops_are_not_divided(config, monkeypatch):
    minutes = []
    monkeypatch.setattr(faces, "split_videos", lambda *_, **options: minutes.append(options["minutes"]) or [])
    for kind in ("cropped", ""):
        split_tasks(run_of(replace(config, data=replace(config.data, affwild2_crops=kind))), {}, 2)
    assert minutes == [0, config.compute.chunk_minutes] and minutes[1] > 0


def test_the_work_writes_a_row_for_every_frame(config):
    run = run_of(config)
    store = PREPARE_FACES.store(run)
    work = PREPARE_FACES.work.operators[0].build(run)()
    try:
        figures = {item.name: work(store, item, payload) for item, payload in face_items(run).items()}
    finally:
        work.writer.close()
    assert figures["12"] == {"rows": 3, "faces": 2, "frames": 3, "crops": 2, "crops_without_face": 2, "crops_past_end": 0}
    assert figures["200"]["faces"] == 0
    rows = {item.name: store.storage.read_table(store.output(item)).to_pylist() for item in face_items(run)}
    assert [(row["track"], row["frame"], row["seen"]) for row in rows["12"]] == [("12", 1, True), ("12", 2, False), ("12", 3, True)]


def test_crops_of_other_videos_than_those_of_the_tree_are_refused(config):
    with pytest.raises(ConfigError, match=r"data\.affwild2_crops: crops are those of the Aff-Wild2 tree at data\.affwild2; leave out data\.videos"):
        face_items(run_of(replace(config, data=replace(config.data, videos=(f"{config.data.affwild2}/batch1",)))))
