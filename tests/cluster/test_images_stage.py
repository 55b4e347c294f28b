"""Stage ``images`` without Ray: its rows, its figures per data set, and what the plan says about scales."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from tiny import TINY

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch.presets import SMOKE
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.stage_one.images import INGEST_IMAGES, ImageWork, check_failures, summarize
from abaw_ray.cluster.stages.stage_one.scales import check_scales, scale_warnings
from abaw_ray.core.errors import ConfigError, StageError
from abaw_ray.core.storage.filesystems import StorageConfig


def at_scales(trained, extracted, images=None, **features):
    """A run whose settings have these ranges, after its images were prepared where ``images`` has their figures."""
    config = replace(
        SMOKE,
        encoder=replace(SMOKE.encoder, augment=replace(SMOKE.encoder.augment, scales=trained)),
        faces=replace(SMOKE.faces, chips=replace(SMOKE.faces.chips, scales=extracted)),
        features=replace(SMOKE.features, visual=replace(SMOKE.features.visual, **features)),
    )
    records = {} if images is None else {"images": SimpleNamespace(figures={"data_sets": images})}
    return Run(config, RaySession(config.compute), cache={}, records=records)


def counts(train, *scales):
    return {"train": train, "val": 10, "no_face": 0, "scales": list(scales)}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The run, and the paths of the stage's outputs for the synthetic images."""
    folder = tmp_path_factory.mktemp("images")
    data = replace(SMOKE.data, synthetic_dir=str(folder / "data"), synthetic=TINY)
    run = Run(replace(SMOKE, data=data, storage=StorageConfig(uri=str(folder / "runs"))), RaySession(SMOKE.compute))
    store, work = INGEST_IMAGES.store(run), INGEST_IMAGES.work.operators[0].build(run)()
    assert isinstance(work, ImageWork)
    items = INGEST_IMAGES.items(run)
    for item, payload in items.items():
        work(store, item, payload)
    return run, store.finished(items)


def test_the_figures_count_images_by_data_set_and_split_from_the_outputs(outputs):
    figures = summarize(*outputs)["data_sets"]
    assert {name: (counts["train"], counts["val"]) for name, counts in figures.items()} == {"affectnet": (8, 8), "rafdb": (7, 7)}
    assert all(len(counts["scales"]) == 11 and counts["scales"] == sorted(counts["scales"]) for counts in figures.values())


def test_the_face_of_aligned_images_is_found_and_their_scale_is_that_of_the_detectors_box(outputs):
    run, paths = outputs
    rows = [row for path in paths.values() for row in run.storage.read_table(path).to_pylist()]
    found = [row for row in rows if row["source"] == "rafdb" and row["no_face"] is None]
    assert len(found) >= 10
    for row in found:
        x0, y0, x1, y1 = row["box"]
        assert x0 >= -1 and y0 >= -1 and row["scale"] < 2.01 and row["inside"] > 0.7
        assert (x0 + x1) / 2 == pytest.approx(row["scale"] * max(x1 - x0, y1 - y0) / 2, abs=1)


def test_images_without_a_face_are_counted_and_reported(outputs, capsys):
    run, paths = outputs
    path = next(path for name, path in paths.items() if name.startswith("rafdb-train"))
    table = run.storage.read_table(path)
    without = table.set_column(table.column_names.index("no_face"), table.schema.field("no_face"), [["no face found"] * len(table)])
    run.storage.write_table("without.parquet", without)
    figures = summarize(run, {**paths, next(name for name in paths if paths[name] == path): "without.parquet"})
    assert figures["data_sets"]["rafdb"]["no_face"] >= 7 and figures["data_sets"]["rafdb"]["scales"] == []
    check_failures(run, INGEST_IMAGES.store(run), SimpleNamespace(figures={**figures, "rows": 30}))
    assert "of 14 images; training leaves them out (encoder.no_face)" in capsys.readouterr().out


def test_unreadable_images_are_counted_over_all_shards_and_too_many_are_an_error(outputs):
    run, paths = outputs
    name, path = next((name, path) for name, path in paths.items() if name.startswith("affectnet-train"))
    run.storage.write_table("fewer.parquet", run.storage.read_table(path).slice(2))
    figures = summarize(run, {**paths, name: "fewer.parquet"})
    assert (summarize(run, paths)["unreadable"], figures["unreadable"]) == (0, 2)
    check_failures(run, INGEST_IMAGES.store(run), SimpleNamespace(figures={**figures, "unreadable": 1, "rows": 28}))
    with pytest.raises(StageError, match=r"images: 2 of 30 cannot be read; the reasons are in .*/failures"):
        check_failures(run, INGEST_IMAGES.store(run), SimpleNamespace(figures={**figures, "rows": 28}))


def test_another_detector_gives_another_address_and_another_place_of_its_weights_does_not():
    def address(**detector):
        config = replace(SMOKE, faces=replace(SMOKE.faces, detector=replace(SMOKE.faces.detector, **detector)))
        return INGEST_IMAGES.store(Run(config, RaySession(config.compute))).path

    assert len({address(), address(weights="here.onnx"), address(kind="yunet"), address(kind="yunet", weights="there.onnx")}) == 2
    assert address(min_score=0.7) != address()


def test_scales_that_training_covers_give_no_warning():
    assert scale_warnings(at_scales((1.0, 1.4), (1.0, 1.2, 1.4))) == ()
    assert scale_warnings(at_scales((1.0, 1.4), (1.0, 1.2, 1.4), {"rafdb": counts(100, *[2.0] * 11)})) == ()
    assert scale_warnings(at_scales((1.0, 1.2), (1.0, 1.7), scales=(1.1,))) == ()


def test_scales_outside_of_the_trained_range_are_named_with_the_setting_to_change():
    (warning,) = scale_warnings(at_scales((1.0, 1.2), (1.0, 1.2, 1.4)))
    assert "encoder.augment.scales=1 to 1.2 do not include the features' scales 1.4; set encoder.augment.scales to 1 1.4" in warning
    check_scales(at_scales((1.0, 1.2), (1.0, 1.2, 1.4)))
    with pytest.raises(ConfigError, match="none of which is trained; set encoder.augment.scales to 1.6 1.7"):
        check_scales(at_scales((1.0, 1.4), (1.6, 1.7)))


def test_images_whose_pictures_end_before_the_largest_scale_are_a_warning():
    tight = counts(900, *[1.1 + 0.02 * number for number in range(11)])
    (warning,) = scale_warnings(at_scales((1.0, 1.7), (1.0, 1.7), {"rafdb": tight, "affectnet": counts(10, *[2.0] * 11)}))
    assert "1% of the training images reach the features' largest scale 1.7" in warning
    assert "affectnet 2.00, rafdb 1.20" in warning or "rafdb 1.20, affectnet 2.00" in warning
    assert scale_warnings(at_scales((1.0, 1.7), (1.0, 1.7), {"rafdb": tight, "affectnet": counts(300, *[2.0] * 11)})) == ()
    assert scale_warnings(at_scales((1.0, 1.7), (1.0, 1.7), {"rafdb": counts(9)})) == ()
