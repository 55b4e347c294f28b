import pytest

from abaw_ray.data.subjects import raw_video, recording_of, side_of, subjects_with_shared_recordings


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("420", "420"),
        ("75-30-960x720", "75-30-960x720"),
        ("135-24-1920x1080_left", "135-24-1920x1080"),
        ("135-24-1920x1080_right", "135-24-1920x1080"),
        ("28-30-1280x720-4", "28-30-1280x720"),
        ("122-60-1920x1080-1_left", "122-60-1920x1080"),
        ("video47", "video47"),
        ("video45_7", "video45"),
        ("video2_left", "video2"),
        ("video45_3_right", "video45"),
        ("122", "122"),
        ("122-60", "122-60"),
    ],
)
def test_the_recording_of_a_name_has_neither_side_nor_part(name, source):
    assert recording_of(name) == source


def test_the_raw_video_of_a_name_lacks_only_the_side():
    assert [raw_video(name) for name in ("video45_3", "28-30-1280x720-4", "video2_left", "7_right")] == [
        "video45_3",
        "28-30-1280x720-4",
        "video2",
        "7",
    ]


@pytest.mark.parametrize(
    ("name", "others", "side"),
    [
        ("10-60-1280x720", ["10-60-1280x720_right"], "left"),
        ("video2", ["video2_left"], "right"),
        ("video59", ["video59_right"], "left"),
        ("video59_right", ["video59"], "right"),
        ("video5", ["video59_right", "video5_1"], ""),
        ("9", ["9_left", "9_right"], ""),
    ],
)
def test_a_subject_without_suffix_has_the_other_side_of_the_second_subject(name, others, side):
    assert side_of(name, [name, *others]) == side


def test_validation_subjects_that_share_a_recording_with_training_are_named():
    train = ["135-24-1920x1080_right", "28-30-1280x720-1", "122-60-1920x1080-1_left", "video45_3", "12"]
    val = ["135-24-1920x1080_left", "28-30-1280x720-2", "122-60-1920x1080-4", "120", "video4"]
    assert subjects_with_shared_recordings(train, val) == {"135-24-1920x1080_left", "28-30-1280x720-2", "122-60-1920x1080-4"}
