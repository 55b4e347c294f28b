"""One test for each of the twelve mistakes of public code for this data; ``docs/data.md`` lists them."""

import numpy as np
import pyarrow as pa
import pytest

from abaw_ray.core import schema
from abaw_ray.core.errors import DataError, ItemError
from abaw_ray.core.storage.filesystems import resolve
from abaw_ray.data.affwild2 import AffWild2
from abaw_ray.data.annotations import HEADER, parse_annotation
from abaw_ray.data.folds import assign_folds
from abaw_ray.data.still_images.affectnet import read_affectnet
from abaw_ray.data.subjects import make_subjects, raw_video, recording_of
from abaw_ray.data.videos import list_videos
from abaw_ray.faces.chips import decode_jpeg
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.detection.detect import Face
from abaw_ray.fusion.frames import join_frames
from abaw_ray.media.audio import RATE, Audio, decode_audio, windows
from abaw_ray.media.video import decode
from abaw_ray.media.write import write_video
from abaw_ray.scoring.calibration import softmax
from abaw_ray.scoring.config import SmoothingConfig
from abaw_ray.scoring.smoothing import smooth
from abaw_ray.scoring.submission import submission_text

SIDE = 60


def find_red(rgb, min_size):
    """Detector of red squares; in an image with swapped channels they are blue and not detected."""
    y, x = np.nonzero((rgb[..., 0] > 150) & (rgb[..., 1] < 100) & (rgb[..., 2] < 100))
    return [Face(np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], np.float64), 0.9)] if len(x) > 100 else []


def plain_image(left=None, gray=40):
    """A gray image of 320 x 240 pixels, with a red square at ``left`` unless it is None."""
    rgb = np.full((240, 320, 3), gray, np.uint8)
    if left is not None:
        rgb[90 : 90 + SIDE, left : left + SIDE] = (220, 20, 20)
    return rgb


def faces_of(path, images, rate=10):
    """FACE rows of the main subject of a video with these images."""
    write_video(path, iter(images), np.arange(len(images)) / rate, None)
    crop = CropFaces(FacesConfig(), detector=find_red)
    return pa.concat_tables(crop({"video": "v", "uri": str(path), "subjects": []})).to_pylist()


def features(frames, seen, heard, track="v"):
    """A FEATURE table of one subject; each vector that is present holds its frame's number."""

    def vector(frame, present):
        return np.full(2, frame, np.float16) if present else None

    rows = [
        {"frame": frame, "time": frame / 30, "shot": 0, "seen": bool(s), "heard": bool(h), "visual": vector(frame, s), "speech": vector(frame, h)}
        for frame, s, h in zip(frames, seen, heard, strict=True)
    ]
    return pa.Table.from_pylist([{"video": "v", "track": track, **row} for row in rows], schema=schema.feature(2, 2))


def test_trap_1_a_name_without_left_or_right_is_not_taken_for_a_side():
    sides = {subject.name: subject.side for subject in make_subjects({"train": ["12", "7_left", "7_right", "upright", "left_12"]})}
    assert sides == {"12": "", "7_left": "left", "7_right": "right", "upright": "", "left_12": ""}


def test_trap_2_a_suffix_is_removed_as_a_whole_and_no_further_letter():
    assert [raw_video(name) for name in ("felt_left", "flight_right", "video2_left", "t_left", "video45_7")] == [
        "felt",
        "flight",
        "video2",
        "t",
        "video45_7",
    ]
    assert "felt_left".rstrip("_left") != "felt"  # the trap itself


def test_trap_3_frames_and_image_names_count_from_one_so_no_label_shifts(tmp_path):
    write_video(tmp_path / "v.mp4", iter([plain_image()] * 4), np.arange(4) / 10, None)
    numbers = [frame.number for frame in decode(str(tmp_path / "v.mp4"))]
    labels = parse_annotation(f"{HEADER}\n3\n0\n1\n2\n", "v.txt")
    joined = join_frames([features(numbers, [True] * 4, [True] * 4)], {"v": labels}, {"v": "train"})
    text, _ = submission_text([("v", number) for number in numbers], {"v": joined.labels}, default=0)
    assert text.splitlines()[1:] == ["v/00001.jpg,3", "v/00002.jpg,0", "v/00003.jpg,1", "v/00004.jpg,2"]


def test_trap_4_labels_are_joined_by_frame_number_not_by_position_among_the_faces():
    order, labels = [5, 2, 6, 1, 4, 3], np.array([0, 1, 2, 3, 4, 5], np.int8)
    table = features(order, np.isin(order, [3, 5, 6]), [False] * 6)
    joined = join_frames([table], {"v": labels}, {"v": "train"})
    assert list(zip(joined.visual[joined.seen, 0], joined.labels[joined.seen], strict=True)) == [(3, 2), (5, 4), (6, 5)]


def test_trap_5_a_missing_face_is_not_a_black_image_and_missing_audio_not_silence(tmp_path):
    rows = faces_of(tmp_path / "v.mp4", [plain_image()] * 12 + [plain_image(100)] * 20)
    unseen = [row for row in rows if not row["seen"]]
    assert len(rows) == 32 and {row["frame"] for row in unseen} >= set(range(1, 12))
    assert all(row["chip"] is row["box"] is row["source"] is None for row in unseen)
    _, heard = windows(Audio(np.zeros(RATE, np.float32), 1.0), np.array([0.0, 1.5, 3.0]), width=0.5)
    assert heard.tolist() == [False, True, False]  # the middle window is silence, which counts as audio
    joined = join_frames([features([1, 2], [False, True], [True, False])], {}, {})
    assert (joined.seen.tolist(), joined.heard.tolist()) == ([False, True], [True, False])


def test_trap_6_audio_windows_are_centered_on_presentation_times_not_on_frame_number_over_rate(tmp_path):
    times = np.array([0.0, 0.05, 0.1, 0.6, 1.1, 1.15, 3.0])
    write_video(tmp_path / "v.mp4", iter([plain_image()] * len(times)), times, None)
    frame_times = np.array([frame.time for frame in decode(str(tmp_path / "v.mp4"))])
    ramp = Audio(np.arange(4 * RATE, dtype=np.float32) / RATE, 0.0)  # each sample is its own time in seconds
    around, _ = windows(ramp, frame_times, width=0.02)
    np.testing.assert_allclose(around[:, around.shape[1] // 2], times, atol=1e-3)


def test_trap_7_nothing_is_interpolated_across_a_cut_a_long_gap_or_from_one_person_to_another(tmp_path):
    shots = [plain_image(20, gray=40)] * 15 + [plain_image(240, gray=200)] * 15
    left_edges = {row["frame"]: row["box"][0] for row in faces_of(tmp_path / "v.mp4", shots) if row["seen"]}
    assert left_edges.keys() >= {5, 10, 15, 16, 20, 25}
    assert all(abs(left - (20 if frame <= 15 else 240)) < 8 for frame, left in left_edges.items())
    scored = np.ones(120, bool)
    scored[30:100] = False
    scores = np.where(np.arange(120)[:, None] < 30, [[1.0, 0.0]], [[0.0, 1.0]])
    smoothed = smooth(scores, np.arange(120) / 30, scored, SmoothingConfig(window_s=1.0, max_gap_s=2.0))
    assert np.isnan(smoothed[30:100]).all()
    people = [features([1, 2], [True, False], [False, False]), features([1, 2], [False, True], [False, False], track="w")]
    joined = join_frames(people, {}, {})
    assert [subject.track for subject in joined.subjects] == ["v", "w"] and joined.seen.tolist() == [True, False, False, True]


def test_trap_8_a_name_with_dots_is_kept_whole(tmp_path):
    for path in ("batch1/my.holiday.v2.mp4", "a/EXPR_Recognition_Challenge/Train_Set/my.holiday.v2_left.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"{HEADER}\n0\n")
    validation = tmp_path / "a/EXPR_Recognition_Challenge/Validation_Set/my.txt"
    validation.parent.mkdir()
    validation.write_text(f"{HEADER}\n0\n")
    (tmp_path / "batch1/my.mp4").write_text("video")
    tree = AffWild2(tmp_path)
    assert [row["video"] for row in tree.videos()] == ["my", "my.holiday.v2"]
    assert [one.name for one in tree.subjects if one.split == "train"] == ["my.holiday.v2_left"] and recording_of(
        "my.holiday.v2_left"
    ) == "my.holiday.v2"
    assert [row["video"] for row in list_videos(tmp_path / "batch1")] == ["my.holiday.v2.mp4", "my.mp4"]


def test_trap_9_the_order_in_which_files_are_listed_changes_neither_rows_nor_folds(tmp_path, monkeypatch):
    for name in ("c", "a", "d", "b", "e"):
        (tmp_path / f"{name}.mp4").write_text(name)
    rng = np.random.default_rng(0)
    labels = {name: rng.integers(0, 8, 50).astype(np.int8) for name in "abcdefghij"}
    rows, folds = list_videos(tmp_path), assign_folds(labels, seed=0)
    monkeypatch.setattr("abaw_ray.data.trees.resolve", lambda *where: (ReversedListing(resolve(*where)[0]), resolve(*where)[1]))
    assert list_videos(tmp_path) == list_videos(f"{tmp_path}/*.mp4") == rows == sorted(rows, key=lambda row: row["video"])
    assert assign_folds({name: labels[name] for name in "jbahcidgfe"}, seed=0) == folds


class ReversedListing:
    """A file system that lists folders in reverse order."""

    def __init__(self, inner):
        self.inner = inner

    def get_file_info(self, what):
        found = self.inner.get_file_info(what)
        return found if isinstance(what, list) else found[::-1]


def test_trap_10_a_row_of_large_logits_does_not_underflow_the_others():
    found = softmax(np.array([[0.0, 1.0], [2000.0, 2001.0], [-3000.0, -2999.0]]))
    np.testing.assert_allclose(found, np.tile(1 / (1 + np.exp([[1.0, -1.0]])), (3, 1)))


def test_trap_11_red_stays_red_from_the_file_to_the_chip(tmp_path):
    rows = faces_of(tmp_path / "v.mp4", [plain_image(100)] * 12)  # the detector, too, needs RGB order
    assert all(row["seen"] for row in rows)
    chip = decode_jpeg(rows[5]["chip"])
    red, green, blue = chip[len(chip) // 2, len(chip) // 2]
    assert red > 190 and green < 60 and blue < 60


def test_trap_12_unreadable_input_is_an_error_and_never_zeros(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"this is no video" * 100)
    for read in (lambda: next(decode(str(tmp_path / "v.mp4"))), lambda: decode_audio(str(tmp_path / "v.mp4"))):
        with pytest.raises(ItemError):
            read()
    (tmp_path / "train_set/annotations").mkdir(parents=True)
    (tmp_path / "train_set/annotations/1_exp.npy").write_bytes(b"cut off")
    with pytest.raises(DataError, match=r"1_exp\.npy"):
        read_affectnet(tmp_path)
    with pytest.raises(DataError, match=r"v\.txt:3"):
        parse_annotation(f"{HEADER}\n0\n\n1\n", "v.txt")
    with pytest.raises(ValueError, match="NaN"):
        smooth(np.full((3, 8), np.nan), np.arange(3.0), np.ones(3, bool), SmoothingConfig())
