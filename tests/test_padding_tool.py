"""The tool that measures real padding: its settings reproduce the distribution, and its sheet shows real and simulated chips."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from abaw_ray.core import schema
from abaw_ray.encoder.augmentation.config import PadAugConfig
from abaw_ray.faces.chips import decode_jpeg, encode_jpeg
from tools.data import padding


def write_faces(path, inside):
    chips = [encode_jpeg(np.full((40, 40, 3), 60 + number, np.uint8), 90) for number in range(len(inside))]
    rows = [
        {"video": "v", "track": "main", "frame": number + 1, "time": number / 10, "shot": 0, "seen": True, "chip": chip, "inside": value}
        for number, (chip, value) in enumerate(zip(chips, inside, strict=True))
    ]
    rows.append({"video": "v", "track": "main", "frame": len(inside) + 1, "time": 9.0, "shot": 0, "seen": False})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema.FACE), path)


def test_the_settings_have_the_fraction_and_the_quantiles_of_the_padded_chips():
    settings = padding.padding_settings(np.array([1.0, 1.0, 1.0, 0.5, 0.6, 0.7, 0.8, 0.9]), 0.25)
    assert (settings.probability, settings.opposite) == (pytest.approx(5 / 8), 0.25)
    assert settings.inside == pytest.approx((0.5, 0.6, 0.7, 0.8, 0.9))
    assert padding.padding_settings(np.ones(4), 0.0).probability == 0


@pytest.mark.parametrize(("black", "opposite"), [("left", False), ("left top", False), ("left right", True), ("top bottom left", True)])
def test_only_black_on_two_opposite_sides_counts_as_opposite(black, opposite):
    chip = np.full((40, 40, 3), 90, np.uint8)
    places = {"left": np.s_[:, :5], "right": np.s_[:, -3:], "top": np.s_[:6], "bottom": np.s_[-4:]}
    for side in black.split():
        chip[places[side]] = 0
    stored = decode_jpeg(encode_jpeg(chip, 90))
    assert padding.opposite_share([stored]) == float(opposite)
    assert padding.opposite_share([stored, np.full((40, 40, 3), 90, np.uint8)]) == opposite / 2
    assert padding.opposite_share([]) == 0


def test_what_is_covered_of_the_face_is_counted_over_the_padded_views():
    half = PadAugConfig(probability=0.1, inside=(0.5, 0.5), opposite=0.0)  # a side 0.5 away: black up to the center of the face; a corner: less
    covered = [border.covered() for border in padding._borders(half, 2000, 3)]
    words = f"100% lose a part of the face box, {np.mean(covered):.0%} of its area on average, at most {max(covered):.0%}"
    assert padding.describe_covered(half, 3) == words and max(covered) == pytest.approx(0.5)
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
