import numpy as np
from test_trackrows import track_of

from abaw_ray.report.tracks.canvas import ACCENT
from abaw_ray.report.tracks.pictures import Picture, draw_people


def renamed(track, name, box):
    return type(track)(**{**track.__dict__, "name": name, "box": np.where(track.seen[:, None], [box], np.nan)})


def test_boxes_stand_where_they_are_in_the_smaller_picture_and_the_one_is_brought_out():
    times = np.arange(4) / 10
    main = renamed(track_of("DD..", times), "main", (40.0, 60, 120, 180))
    other = renamed(track_of(".DD.", times), "person-2", (200.0, 60, 280, 180))
    rgb = np.full((150, 200, 3), 90, np.uint8)
    drawn, texts = draw_people(Picture(2, rgb, (0.5, 0.5)), [main, other], "main")
    accent = np.argwhere((drawn == ACCENT).all(axis=2) & (np.arange(150) >= 30)[:, None])  # its name stands above
    assert accent.min(axis=0).tolist() == [30, 20] and accent.max(axis=0).tolist() == [89, 59]
    assert sorted(text for text, _ in texts) == ["main", "person-2"]
    assert (rgb == 90).all(), "the picture that was given is not written into"
    assert [text for text, _ in draw_people(Picture(3, rgb, (0.5, 0.5)), [main, other], "main")[1]] == ["person-2"]
    assert (draw_people(Picture(4, rgb, (0.5, 0.5)), [main, other], "main")[0] == 90).all()


def test_names_of_a_crowd_neither_meet_nor_leave_the_picture():
    times, rng = np.arange(2) / 10, np.random.default_rng(0)
    crowd = []
    for number in range(40):
        x, y = rng.uniform(-20, 300), rng.uniform(-20, 220)
        crowd.append(renamed(track_of("DD", times), f"a rather long name {number}", (x, y, x + 40, y + 50)))
    _, texts = draw_people(Picture(1, np.zeros((240, 320, 3), np.uint8), (1.0, 1.0)), crowd, crowd[7].name)
    assert 3 < len(texts) < 40 and crowd[7].name in [text for text, _ in texts]
    for at, (_, a) in enumerate(texts):
        assert min(a) >= 0 and a[2] <= 320 and a[3] <= 240
        assert not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for _, b in texts[at + 1 :])
