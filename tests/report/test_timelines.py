import base64

import numpy as np
import pyarrow as pa
import pytest

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.schema import PREDICTION
from abaw_ray.report.inputs import Timeline
from abaw_ray.report.timelines import MISSING_BYTE, TimelineConfig, describe, encode_timeline, frame_accuracy, sample_timelines, timeline_of


def make_timeline(frames=103, seed=0, **given):
    rng = np.random.default_rng(seed)
    scored = rng.random(frames) < 0.8
    probability = np.where(scored[:, None], rng.dirichlet(np.ones(8), size=frames), np.nan).astype(np.float32)
    fields = {
        "video": "v",
        "track": "main",
        "time": np.cumsum(rng.uniform(1 / 60, 1 / 6, frames)),
        "predicted": np.where(scored, rng.integers(0, 8, frames), -1).astype(np.int8),
        "probability": probability,
        "seen": scored & (rng.random(frames) < 0.9),
        "heard": scored,
        "label": rng.integers(-1, 8, frames).astype(np.int8),
        "gate": np.where(scored, rng.random(frames), np.nan).astype(np.float32),
    }
    return Timeline(**(fields | given))


def values(text, kind=np.uint8):
    return np.frombuffer(base64.b64decode(text), kind)


def slow_columns(timeline, per):
    """Each column by its definition, frame after frame."""
    for first in range(0, len(timeline.time), per):
        frames = range(first, min(first + per, len(timeline.time)))
        labels = [int(timeline.label[i]) for i in frames if timeline.label[i] >= 0]
        most_frequent = min(set(labels), key=lambda c: (-labels.count(c), c)) if labels else MISSING_BYTE
        good = [timeline.probability[i].astype(float) for i in frames if np.isfinite(timeline.probability[i]).all()]
        yield (
            most_frequent,
            np.rint(np.mean(good, axis=0) * 254) if good else np.full(8, MISSING_BYTE),
            np.rint(np.mean([timeline.seen[i] for i in frames]) * 254),
        )


@pytest.mark.parametrize(("columns", "per"), [(1200, 1), (103, 1), (102, 2), (50, 3), (7, 15), (1, 103)])
def test_columns_agree_with_their_definition(columns, per):
    timeline = make_timeline()
    encoded = encode_timeline(timeline, TimelineConfig(max_columns=columns))
    assert encoded["frames_per_column"] == per
    labels, probability, seen = zip(*slow_columns(timeline, per), strict=True)
    assert len(labels) <= columns
    np.testing.assert_array_equal(values(encoded["label"]), labels)
    np.testing.assert_allclose(values(encoded["probability"]).reshape(-1, 8).astype(float), probability, atol=1)
    np.testing.assert_allclose(values(encoded["seen"]).astype(float), seen, atol=1)
    np.testing.assert_allclose(values(encoded["time"], "<f4"), timeline.time[::per], rtol=1e-6)


def test_a_frame_without_a_score_is_a_gap_and_no_class():
    timeline = make_timeline()
    encoded = encode_timeline(timeline, TimelineConfig())
    gap = timeline.predicted < 0
    assert gap.any() and not gap.all()
    np.testing.assert_array_equal(values(encoded["predicted"]) == MISSING_BYTE, gap)
    np.testing.assert_array_equal((values(encoded["probability"]).reshape(-1, 8) == MISSING_BYTE).all(axis=1), gap)
    np.testing.assert_array_equal(values(encoded["gate"]) == MISSING_BYTE, gap)


def test_a_probability_of_one_is_not_encoded_as_missing():
    probability = np.zeros((2, 8), np.float32)
    probability[:, 3] = 1.0
    timeline = make_timeline(2, probability=probability, predicted=np.array([3, 3], np.int8), gate=np.ones(2, np.float32))
    encoded = encode_timeline(timeline, TimelineConfig())
    assert values(encoded["probability"]).max() == 254
    assert values(encoded["gate"]).tolist() == [254, 254]


@pytest.mark.parametrize("frames", [0, 1])
def test_a_timeline_of_no_frame_or_one_is_encoded(frames):
    encoded = encode_timeline(make_timeline(frames), TimelineConfig())
    assert encoded["frames"] == frames
    assert len(values(encoded["probability"])) == 8 * frames


def test_the_last_frame_has_the_usual_duration():
    timeline = make_timeline(4, time=np.array([0.0, 0.1, 0.2, 0.3]))
    assert encode_timeline(timeline, TimelineConfig())["end"] == pytest.approx(0.4)


def test_the_accuracy_counts_labelled_and_scored_frames_only():
    timeline = make_timeline(4, label=np.array([1, -1, 2, 3]), predicted=np.array([1, 1, 3, -1]))
    assert frame_accuracy(timeline) == 0.5
    assert frame_accuracy(make_timeline(4, label=None)) is None
    assert frame_accuracy(make_timeline(4, label=np.full(4, -1))) is None


def test_the_description_has_the_number_of_unscored_frames():
    timeline = make_timeline(4, predicted=np.array([1, -1, 2, -1]), seen=np.array([True, False, True, False]))
    assert "2 frames not scored" in describe(timeline)
    assert "face detected in 50%" in describe(timeline)
    assert "every frame scored" in describe(make_timeline(4, predicted=np.zeros(4, np.int8)))


def test_timelines_are_sampled_evenly_from_worst_to_best():
    def timeline_with_accuracy(count):
        return make_timeline(10, video=f"right{count}", predicted=np.zeros(10, np.int8), label=np.where(np.arange(10) < count, 0, 1))

    given = [timeline_with_accuracy(count) for count in (9, 0, 5, 2, 7, 10, 3, 8, 1, 6, 4)]
    kept = sample_timelines(given, 3)
    assert [timeline.video for timeline in kept] == ["right0", "right5", "right10"], "in the order they were given"
    assert sample_timelines(given, 11) == given


@pytest.mark.parametrize(
    ("video", "track", "name"), [("v", "main", "v"), ("v", "v", "v"), ("v", "v_left", "v_left"), ("v", "person-2", "v · person-2")]
)
def test_a_timeline_is_named_by_video_and_track(video, track, name):
    assert encode_timeline(make_timeline(3, video=video, track=track), TimelineConfig())["name"] == name


@pytest.mark.parametrize("chunks", [1, 3])
def test_prediction_rows_become_a_timeline(chunks):
    rows = [
        {
            "video": "v",
            "track": "person-2",
            "frame": 41 + i,
            "time": i / 25,
            "seen": i != 1,
            "heard": False,
            "scored": i != 1,
            "box": None,
            "probability": None if i == 1 else np.eye(8, dtype=np.float32)[i].tolist(),
            "label": None if i == 1 else EXPRESSIONS[i],
        }
        for i in range(6)
    ]
    table = pa.concat_tables([pa.Table.from_pylist(part.tolist(), schema=PREDICTION) for part in np.array_split(np.array(rows, object), chunks)])
    timeline = timeline_of(table, label=np.zeros(6, np.int8), group="validation")
    assert timeline.predicted.tolist() == [0, -1, 2, 3, 4, 5]
    assert np.isnan(timeline.probability[1]).all()
    np.testing.assert_array_equal(timeline.probability[[0, 2, 3, 4, 5]], np.eye(8)[[0, 2, 3, 4, 5]])
    assert (timeline.first_frame, timeline.track, timeline.group) == (41, "person-2", "validation")
    assert encode_timeline(timeline, TimelineConfig())["first_frame"] == 41
