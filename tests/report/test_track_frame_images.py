import numpy as np
from test_track import track_of

from abaw_ray.report.tracks.canvas import ACCENT
from abaw_ray.report.tracks.frame_images import FrameImage, draw_people


def with_name(track, name, box):
    return type(track)(**{**track.__dict__, "name": name, "box": np.where(track.seen[:, None], [box], np.nan)})


def test_boxes_are_scaled_to_the_image_and_one_track_is_highlighted():
    times = np.arange(4) / 10
    main = with_name(track_of("DD..", times), "main", (40.0, 60, 120, 180))
    other = with_name(track_of(".DD.", times), "person-2", (200.0, 60, 280, 180))
    rgb = np.full((150, 200, 3), 90, np.uint8)
    drawn, texts = draw_people(FrameImage(2, rgb, (0.5, 0.5)), [main, other], "main")
    accent = np.argwhere((drawn == ACCENT).all(axis=2) & (np.arange(150) >= 30)[:, None])  # its name is above
    assert accent.min(axis=0).tolist() == [30, 20] and accent.max(axis=0).tolist() == [89, 59]
    assert sorted(text for text, _ in texts) == ["main", "person-2"]
    assert (rgb == 90).all(), "the input image is not modified"
    assert [text for text, _ in draw_people(FrameImage(3, rgb, (0.5, 0.5)), [main, other], "main")[1]] == ["person-2"]
    assert (draw_people(FrameImage(4, rgb, (0.5, 0.5)), [main, other], "main")[0] == 90).all()


def test_names_of_a_crowd_do_not_overlap_or_leave_the_image():
    times, rng = np.arange(2) / 10, np.random.default_rng(0)
    crowd = []
    for number in range(40):
        x, y = rng.uniform(-20, 300), rng.uniform(-20, 220)
        crowd.append(with_name(track_of("DD", times), f"a rather long name {number}", (x, y, x + 40, y + 50)))
    _, texts = draw_people(FrameImage(1, np.zeros((240, 320, 3), np.uint8), (1.0, 1.0)), crowd, crowd[7].name)
    assert 3 < len(texts) < 40 and crowd[7].name in [text for text, _ in texts]
    for at, (_, a) in enumerate(texts):
        assert min(a) >= 0 and a[2] <= 320 and a[3] <= 240
        assert not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for _, b in texts[at + 1 :])
