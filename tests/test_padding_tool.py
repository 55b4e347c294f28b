"""The tool that measures real padding: its settings reproduce the distribution, and its sheet shows real and simulated chips."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from abaw_ray.core import schema
from abaw_ray.encoder.augmentation.config import PadAugConfig
from abaw_ray.encoder.augmentation.padaug import Border
from abaw_ray.faces.chips import crop_chip, decode_jpeg, encode_jpeg
from abaw_ray.faces.config import ChipConfig
from tools.data import padding


def write_faces(path, inside, images=None, boxes=None):
    images = images or [np.full((40, 40, 3), 60 + number, np.uint8) for number in range(len(inside))]
    chips = [encode_jpeg(image, 90) for image in images]
    rows = [
        {
            "video": "v",
            "track": "main",
            "frame": number + 1,
            "time": number / 10,
            "shot": 0,
            "seen": True,
            "chip": chip,
            "inside": value,
            "box": box,
            "chip_scale": 1.0,
        }
        for number, (chip, value, box) in enumerate(zip(chips, inside, boxes or [[50.0, 50.0, 60.0, 60.0]] * len(inside), strict=True))
    ]
    rows.append({"video": "v", "track": "main", "frame": len(inside) + 1, "time": 9.0, "shot": 0, "seen": False})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema.FACE), path)


def test_the_settings_have_the_fraction_and_the_quantiles_of_the_padded_chips():
    settings = padding.padding_settings(np.array([1.0, 1.0, 1.0, 0.5, 0.6, 0.7, 0.8, 0.9]), 0.25)
    assert (settings.probability, settings.opposite) == (pytest.approx(5 / 8), 0.25)
    assert settings.inside == pytest.approx((0.5, 0.6, 0.7, 0.8, 0.9))
    assert padding.padding_settings(np.ones(4), 0.0).probability == 0


def crop(box, *, width=100, height=80, level=90, scale=1.7):
    """The chip of a box in a picture of one gray level, as it is stored, with the box, the fraction inside and the scale."""
    made = crop_chip(np.full((height, width, 3), level, np.uint8), np.array(box, float), ChipConfig(scales=(1.0, scale)))
    return decode_jpeg(encode_jpeg(made.image, 90)), np.array(box, float), made.inside, scale


@pytest.mark.parametrize(
    ("box", "opposite"),
    [
        ((40, 30, 60, 50), False),  # the chip is complete
        ((0, 30, 30, 50), False),  # left
        ((70, 5, 100, 40), False),  # right and top
        ((0, 0, 30, 30), False),  # left and top
        ((20, 10, 80, 70), True),  # top and bottom
        ((0, 5, 60, 75), True),  # left, top and bottom
        ((5, -5, 95, 85), True),  # all four
    ],
)
def test_a_chip_is_cut_on_opposite_sides_where_the_picture_is_too_small_for_it(box, opposite):
    assert padding.is_cut_on_opposite_sides(*crop(box)) == opposite


def test_chips_of_another_scale_are_examined_at_theirs(tmp_path):
    *_, scale = crop((20, 10, 80, 70), scale=1.2)
    assert scale == 1.2 and not padding.is_cut_on_opposite_sides(*crop((20, 10, 80, 70), scale=1.2)), "72 of the picture's 80 pixels"
    assert padding.is_cut_on_opposite_sides(*crop((20, 10, 80, 70), scale=1.5))
    image, box, inside, _ = crop((20, 10, 80, 70), scale=1.5)
    write_faces(tmp_path / "a.parquet", [inside], [image], [box])
    assert padding.opposite_share([tmp_path / "a.parquet"], seed=0) == 1


def test_a_dark_picture_is_mistaken_for_its_end_only_in_a_corner():
    assert not padding.is_cut_on_opposite_sides(*crop((0, 30, 30, 50), level=3))
    assert not padding.is_cut_on_opposite_sides(*crop((70, 30, 100, 50), level=3))
    assert not padding.is_cut_on_opposite_sides(*crop((0, 0, 30, 30), level=3))
    assert padding.is_cut_on_opposite_sides(*crop((70, 5, 100, 40), level=3)), "the right is cut off, the bottom is dark"


def test_the_share_of_opposite_sides_is_that_of_all_padded_chips_and_not_of_videos(tmp_path, monkeypatch):
    complete, left, both = (crop(box) for box in ((40, 30, 60, 50), (0, 30, 30, 50), (20, 10, 80, 70)))
    for name, crops in {"a": [left] * 6 + [complete] * 3, "b": [both] * 2, "c": [complete]}.items():
        images, boxes, inside, _ = zip(*crops, strict=True)
        write_faces(tmp_path / f"{name}.parquet", inside, images, boxes)
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    assert padding.opposite_share(paths, seed=0) == 2 / 8
    monkeypatch.setattr(padding, "_SAMPLE", 4)
    shares = [padding.opposite_share(paths, seed) for seed in range(60)]
    assert len(set(shares)) > 1 and np.mean(shares) == pytest.approx(2 / 8, abs=0.08)
    assert padding.opposite_share([tmp_path / "c.parquet"], seed=0) == 0


def test_what_is_covered_of_the_face_is_counted_over_the_padded_views(monkeypatch):
    """Six views: three end at the center of the face, one a quarter of the box away from it, two beyond the box."""
    borders = [*[Border(left=0.0)] * 3, Border(top=0.25), Border(right=0.6), Border(left=0.5)]
    monkeypatch.setattr(padding, "sample_border", lambda rng, config, scale: borders.pop())
    monkeypatch.setattr(padding, "_SAMPLE", 6)
    described = padding.describe_covered(PadAugConfig(probability=0.1), 3)
    assert described == "67% lose a part of the face box, 44% of its area on average, at most 50%"


def test_a_face_far_from_the_end_of_the_picture_loses_nothing():
    assert padding.describe_covered(PadAugConfig(inside=(0.99, 1.0)), 0).startswith("0% lose a part of the face box, 0% ")


def test_settings_and_sheet_are_made_from_a_folder_of_faces(tmp_path, capsys):
    write_faces(tmp_path / "faces" / "a.parquet", [1.0, 0.6, 1.0, 0.8])
    write_faces(tmp_path / "faces" / "deep" / "b.parquet", [1.0, 1.0, 0.9, 1.0])
    assert padding.main(tmp_path / "faces", out=tmp_path / "sheet.png", columns=3, rows=1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "8 chips of 2 videos; 37.5% are padded, 0.0% of these on opposite sides"
    option = "--encoder.augment.padaug"
    assert lines[1].startswith(f"{option}.probability 0.375 {option}.opposite 0 {option}.inside 0.6 ")
    assert [line.partition(" pad: ")[0] for line in lines[2:4]] == ["training views that these settings", "training views that the default"]
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (2 * (96 + 4 + 16), 300, 3)
    real, simulated = pixels[:96, :96], pixels[116:212, :96]
    assert (real == 61).all(axis=2).mean() > 0.9
    assert (simulated == 0).all(axis=2).any()


def test_a_folder_without_faces_is_named_in_one_line(tmp_path, capsys):
    assert padding.main(tmp_path) == 3
    assert capsys.readouterr().err == f"error: {tmp_path}: no output of the stage 'faces'; give a file or a folder of its results\n"
