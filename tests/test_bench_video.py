"""The video benchmark: its test videos have the stated content, its figures follow their definitions, its JSON file is complete."""

import json
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tyro

from abaw_ray.core.errors import DataError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.schema import FACE
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.faces.config import DetectorConfig, FacesConfig
from abaw_ray.faces.detection.detect import Face
from abaw_ray.media.video import decode
from abaw_ray.media.write import write_video
from tools.bench.video import clips, cost, memory, plan, recall, run, scale

KEYS = {
    "stage_over_decode_720p",
    "stage_over_decode_1080p",
    "recall_48px_1080p",
    "naive_over_stage_720p",
    "ray_over_pool",
    "memory_10min_over_1min",
    "worker_private_mb",
    "seconds_per_video_at_scale",
}


def face_at(left, size=(160, 120)):
    """An image of a patterned wall with a red face of 24 x 36 pixels at ``left``; None: no face."""
    image = np.full((size[1], size[0], 3), 90, np.uint8)
    image[:, ::8] = 140
    if left is not None:
        image[60:96, left : left + 24] = (230, 20, 20)
    return image


def find_red(rgb, min_size):
    """Detector of red faces."""
    red = (rgb[..., 0] > 150) & (rgb[..., 1] < 90)
    y, x = np.nonzero(red)
    return [Face(np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], np.float64), 0.9)] if red.sum() > 100 else []


def red_box(image):
    return find_red(image, 0)[0].box


@pytest.fixture
def subject():
    images = [face_at(60 + index) for index in range(5)]
    return clips.Subject(images, np.array([red_box(image) for image in images]), "a clip")


def test_the_longest_run_of_one_face_frames_is_found_among_clips_and_other_files(tmp_path):
    lefts = {"a.mp4": [60] * 3 + [None] + [62] * 7, "b.mp4": [60] * 5, "c.mp4": [None] * 12}
    for name, faces in lefts.items():
        write_video(tmp_path / name, [face_at(left) for left in faces], np.arange(len(faces)) / 10, None, crf=12)
    (tmp_path / "notes.txt").write_text("no video")
    subject = clips.find_subject(tmp_path, find_red)
    assert len(subject.images) == 7 and subject.clip.endswith("a.mp4")
    np.testing.assert_allclose(np.median(subject.boxes, axis=0), [62, 60, 86, 96], atol=1.5)
    for folder in (tmp_path / "gone", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(DataError, match="no clip shows exactly one face"):
            clips.find_subject(folder, find_red)


@pytest.mark.parametrize("size", [(320, 180), (640, 360), (100, 60)])
def test_the_face_has_the_given_height_and_the_returned_box(subject, size):
    for index in (0, 3, 7):
        image, box = clips.portrait(subject, size, 0.3, index)
        assert image.shape == (size[1], size[0], 3)
        assert box[3] - box[1] == pytest.approx(0.3 * size[1], rel=1e-6)
        np.testing.assert_allclose(red_box(image), box, atol=1.5 + 0.01 * size[0])
        assert image.min() > 0  # the background fills the frame


def test_small_faces_follow_their_trajectories_or_are_absent(subject):
    trajectories = [lambda time: (100 + 30 * time, 80), lambda time: None]
    for index in (0, 30):
        image, (box, away) = clips.crowd(subject, (320, 240), 30, trajectories, index)
        assert away is None and box[3] - box[1] == pytest.approx(30)
        np.testing.assert_allclose((box[:2] + box[2:]) / 2, [100 + index, 80], atol=0.51)
        np.testing.assert_allclose(red_box(image), box, atol=1.5)


def test_source_frames_run_forwards_and_backwards(subject):
    assert [subject.source_index(index) for index in range(11)] == [0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 2]


def test_a_face_as_wide_as_its_clip_is_an_error():
    wide = clips.Subject([face_at(0)], np.array([[2.0, 10, 158, 110]]), "a clip")
    with pytest.raises(DataError, match="as wide as the frame"):
        clips.portrait(wide, (320, 180), 0.3, 0)


def test_a_lengthened_video_repeats_the_frames_at_increasing_times(tmp_path):
    once = clips.encode(tmp_path / "once.mp4", (face_at(40 + 2 * number) for number in range(20)), preset="veryfast")
    assert [frame.time for frame in decode(str(once))] == pytest.approx(np.arange(20) / 30, abs=1e-4)
    frames = list(decode(str(clips.lengthen(once, tmp_path / "long.mp4", 1.5))))
    assert len(frames) == 60
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(60) / 30, atol=2e-3)
    np.testing.assert_array_equal(frames[7].rgb(), frames[47].rgb())


def rows(*detections):
    """FACE rows of boxes of 10 x 10 pixels: ``(frame, x, source)``."""
    return pa.Table.from_pylist([{"frame": frame, "source": source, "box": [x, 0.0, x + 10, 10.0]} for frame, x, source in detections])


def test_recall_and_detection_delay_follow_their_definitions():
    box = np.array([0.0, 0, 10, 10])
    truth = [[None], [box], [box], [box], [box], [None], [box], [box], [None]]
    table = rows((2, 9.0, "detected"), (4, 0.0, "detected"), (5, 5.0, "interpolated"), (5, 8.0, "detected"), (6, 0.0, "detected"))
    overlap, interpolated = recall.best_overlap(table, truth, 0)
    np.testing.assert_allclose(overlap, [np.nan, 10 / 190, 0, 1, 1 / 3, np.nan, 0, 0, np.nan])
    assert interpolated.tolist() == [False, False, False, False, True, False, False, False, False]
    assert recall.recall(overlap) == 2 / 6
    assert recall.detection_delays(overlap) == [2 / 30, 2 / 30]  # the second face is present for two frames and not detected


def test_visitors_appear_in_separate_bands_of_the_frame():
    for seed in range(3):
        trajectory = recall.visits(20, seed)
        positions = [trajectory(time) for time in np.arange(0, 20, 0.1)]
        present = np.array([position is not None for position in positions])
        assert not present[:5].any() and 0.3 < present.mean() < 0.95
        low, high = 1920 * (0.5 + 0.16 * seed), 1920 * (0.6 + 0.16 * seed)
        assert all(low <= position[0] <= high for position in positions if position)
    brief = [recall.visits(60, 0, recall.BRIEF_VISIT)(time) is not None for time in np.arange(0, 60, 0.1)]
    durations = [len(visit) / 10 for visit in "".join("x" if present else " " for present in brief).split()]
    assert len(durations) > 10 and min(durations) >= 0.3 and max(durations) <= 3.1 and max(durations) > 2 * min(durations)


@pytest.mark.parametrize("few", [True, False])
def test_the_curve_has_each_valid_setting_once(few):
    configs = recall.curve_settings(FacesConfig(), few=few)
    assert configs[0] == FacesConfig() and all(config not in configs[:index] for index, config in enumerate(configs))
    assert {config.tracks.search_interval_s for config in configs} >= set(recall.SEARCH)
    assert {config.detector.width for config in configs} >= set(recall.WIDTHS)
    assert len(configs) < 14 if few else len(configs) > 16


@pytest.fixture
def small(tmp_path):
    return clips.encode(tmp_path / "small.mp4", (face_at(40 + number) for number in range(30)), preset="veryfast")


def test_the_cost_of_the_stage_is_measured_by_round(small):
    cost_of_stage = cost.stage_over_decode(FacesConfig(detector=DetectorConfig(kind="haar")), small, rounds=3)
    assert len(cost_of_stage["ratios"]) == 3 and cost_of_stage["ratio"] in cost_of_stage["ratios"] and cost_of_stage["frames"] == 30
    assert cost_of_stage["decode_ms"] > 0 and cost_of_stage["stage_ms"] > 0 and cost_of_stage["mbit_s"] > 0


def test_a_row_of_the_curve_has_cost_and_recall(tmp_path, small):
    config = FacesConfig(detector=DetectorConfig(kind="haar"))
    truth = [[np.array([40.0 + number, 60, 64 + number, 96]), None, None] for number in range(30)]
    scene = recall.Scene(small, truth)
    (row,) = recall.curve([config], {"small": small}, scene, 30, 1)
    assert row["lost"] == 1 and row["iou_interpolated"] is row["newcomer_s"] is row["brief"] is None  # Haar does not detect a red square
    assert row["stage_ms"]["small"] > 0 and row["tracks.search_interval_s"] == config.tracks.search_interval_s


def test_peaks_are_the_maxima_of_each_value_and_of_the_sum():
    samples, over = iter([(1, 5), (4, 3), (2, 2)]), threading.Event()
    current = [0, 0]

    def first():
        current[:] = next(samples, None) or (0, 0)
        if not any(current):
            over.set()
        return current[0]

    with memory.PeakSampler(a=first, b=lambda: current[1]) as sampler:
        assert over.wait(30)
    assert sampler.peaks == {"a": 4, "b": 5, "sum": 7}


def test_stub_work_writes_one_row(tmp_path):
    store, item = StageStore(Storage(StorageConfig(uri=str(tmp_path))), "faces", FacesConfig(), 1), Item(name="v.mp4", identity="1")
    assert scale.StubWork(FacesConfig(), ChildLimits(), None)(store, item, {"video": "v.mp4"})["rows"] == 1
    table = pq.read_table(tmp_path / store.output(item))
    assert table.schema.equals(FACE) and table["video"].to_pylist() == ["v.mp4"] and table["seen"].to_pylist() == [False]


def test_the_file_has_all_keys_with_null_for_unmeasured_figures(tmp_path, monkeypatch, capsys):
    measured = {"pool": {"ratio": 0.9712345, "ratio_with_start": 0.9}, "memory": {"ratio": 1.1, "long": {"sum": 300.0}}, "naive": {"ratio": 9.0}}
    monkeypatch.setattr(run, "PARTS", {name: replace_part(figures) for name, figures in measured.items()})
    path = tmp_path / "new" / "kept.json"
    assert run.main(Path("a/clips"), Path("b/net.onnx"), quick=True, json=path, only=("pool", "memory")) == 0
    body = json.loads(path.read_text())
    assert body.keys() >= KEYS | {"curve", "machine", "date", "command", "versions", "git", "raw", "settings", "approximate"}
    assert (body["ray_over_pool"], body["memory_10min_over_1min"], body["worker_private_mb"]) == (0.97123, 1.1, 300.0)
    assert body["naive_over_stage_720p"] is body["stage_over_decode_720p"] is body["curve"] is None
    assert "ray_over_pool" in body["approximate"] and "a/" not in path.read_text() and "b/" not in path.read_text()
    assert "ray_over_pool" in capsys.readouterr().out


def replace_part(figures):
    def part(bench):
        """Return prepared figures."""
        return figures

    return part


def test_missing_weights_are_a_one_line_error_with_an_exit_code(tmp_path, capsys):
    assert run.main(tmp_path, tmp_path / "gone.onnx", only=("stage",)) == 2
    assert capsys.readouterr().err.startswith("error: faces.detector.weights=")


def test_the_quick_plan_is_smaller_in_every_size():
    full, quick = plan.Plan(), plan.QUICK
    assert quick.few and not full.few
    for name in ("seconds", "rounds", "recall_seconds", "curve_frames", "naive_frames", "pool_seconds", "long", "short", "videos"):
        assert getattr(quick, name) < getattr(full, name)


def test_the_help_lists_options_and_parts(capsys):
    with pytest.raises(SystemExit):
        tyro.cli(run.main, args=["--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in ("--clips", "--weights", "--quick", "--json", "--only", "--keep", *run.PARTS))


def test_options_select_parts_and_sizes(monkeypatch):
    received = {}
    monkeypatch.setattr(run, "measure", lambda bench, only, done: received.update(only=only, plan=bench.plan, clips=bench.clips) or {})
    args = ["--clips", "c", "--weights", "w.onnx", "--quick", "--only", "stage", "recall"]
    assert tyro.cli(run.main, args=args) == 0
    assert received == {"only": ("stage", "recall"), "plan": plan.QUICK, "clips": Path("c")}
