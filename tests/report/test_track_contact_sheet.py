import numpy as np
import pytest
from test_track import track_of
from test_track_frame_images import with_name
from test_track_timeline_bar import overlaps

from abaw_ray.core.errors import ConfigError
from abaw_ray.report.tracks.canvas import HATCH
from abaw_ray.report.tracks.contact_sheet import SheetConfig, chip_frames, draw_sheet, image_frames, image_size
from abaw_ray.report.tracks.frame_images import FrameImage

LONG = "a folder with a long name/another one/" * 6 + "Ünïcödé, final (2).mp4"


def people(frames, *names, video="v.mp4"):
    rng = np.random.default_rng(frames)
    tracks = {}
    for at, name in enumerate(names):
        runs = rng.choice(list("I.DF"), frames // 20 + 40, p=[0.6, 0.2, 0.1, 0.1])
        states = "".join(letter * 20 for letter in runs)[:frames]
        first = 1 if at == 0 else int(rng.integers(1, frames))
        track = with_name(track_of(states[first - 1 :], np.arange(frames) / 30, first=first), name, (20.0 * at, 20, 20.0 * at + 60, 90))
        tracks[name] = type(track)(**{**track.__dict__, "video": video})
    return tracks


def sheet_of(tracks, name, config, aspect=16 / 9, note=""):
    track, (width, height) = tracks[name], image_size(config, aspect)
    chips = {frame: np.full((50, 50, 3), 120, np.uint8) for frame in chip_frames(track, config).tolist()[::2]}
    images = [FrameImage(frame, np.full((height, width, 3), 80, np.uint8), (0.4, 0.4)) for frame in image_frames(track, config, aspect).tolist()]
    return draw_sheet(tracks, name, chips, images, config, note)


@pytest.mark.parametrize(
    ("frames", "names", "video", "config", "aspect"),
    [
        (1, ["main"], "v.mp4", SheetConfig(), 16 / 9),
        (300, ["main", "person-2"], "v.mp4", SheetConfig(), 16 / 9),
        (30_000, ["main", *[f"person-{n}" for n in range(2, 12)]], LONG, SheetConfig(), 16 / 9),
        (5_000, ["135-24-1920x1080_left_and_more_of_it_than_fits", "135-24-1920x1080_right"], LONG, SheetConfig(columns=1, rows=2), 9 / 16),
        (500, ["main"], LONG, SheetConfig(columns=20, rows=1), 4.0),
    ],
)
def test_no_text_of_a_sheet_overlaps_another_or_leaves_it(frames, names, video, config, aspect):
    tracks = people(frames, *names, video=video)
    for name in names[:2]:
        sheet = sheet_of(tracks, name, config, aspect, note="decoding broke after frame 12 (" + "invalid data found " * 20 + ")")
        assert overlaps(sheet.texts) == []
        width, height = sheet.image.size
        assert all(min(box) >= 0 and box[2] <= width and box[3] <= height for _, box in sheet.texts)


def test_every_chosen_frame_has_a_cell_and_those_without_a_face_are_hatched():
    track = track_of("DII..F", np.arange(6) / 10)
    sheet = sheet_of({"main": track}, "main", SheetConfig(columns=3, rows=2))
    texts = [text for text, _ in sheet.texts]
    cells = texts[texts.index("Chips: every frame") :]
    assert [text for text in cells if text.startswith("#")] == ["#1", "#2", "#3", "#4", "#5", "#6"]
    assert cells.count("not seen") == 2 and cells.count("no chip kept") == 2, "frames 2 and 6 have a face and no chip here"
    pixels = np.asarray(sheet.image)
    x0, y0, x1, y1 = (round(side) for side in [box for text, box in sheet.texts if text == "not seen"][-1])
    around = pixels[y0 - 50 : y1 + 50, x0 - 40 : x1 + 40]
    assert (around == HATCH).all(axis=2).sum() > 200


def test_the_sheet_shows_counts_gaps_and_the_note():
    sheet = sheet_of({"main": track_of("DII..F", np.arange(6) / 10)}, "main", SheetConfig(), note="it breaks")
    texts = " ".join(text for text, _ in sheet.texts).replace("\N{NO-BREAK SPACE}", " ")
    for wanted in (
        "6 frames, 1 to 6",
        "0.00 s to 0.60 s",
        "face seen in 4 frames, 66.7%",
        "1 gap ",
        "it breaks",
        "not seen 2 (33.3%)",
        "0.30–0.50 s",
    ):
        assert wanted in texts
    assert "0.30–0.50 s" in texts, "the gap on the bar"


def test_chips_are_evenly_spaced_and_there_are_as_many_frame_images_as_fit():
    track = track_of("D" * 1000, np.arange(1000) / 30)
    assert len(chip_frames(track, SheetConfig(columns=4, rows=5))) == 20
    assert image_frames(track, SheetConfig(), 16 / 9).tolist() == [126, 376, 626, 876]
    for aspect in (0.2, 9 / 16, 1.0, 16 / 9, 4.0):
        width, height = image_size(SheetConfig(), aspect)
        assert width * len(image_frames(track, SheetConfig(), aspect)) <= SheetConfig().inner and height <= 330
        assert width / height == pytest.approx(aspect, rel=0.05)


@pytest.mark.parametrize("wrong", [{"columns": 0}, {"rows": 0}, {"columns": 1000}])
def test_invalid_sheet_sizes_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SheetConfig(**wrong)
