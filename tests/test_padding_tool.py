"""The tool that measures real padding: its settings reproduce the distribution, and its sheet shows real and simulated chips."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from abaw_ray.core import schema
from abaw_ray.faces.chips import encode_jpeg
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
    settings = padding.padding_settings(np.array([1.0, 1.0, 1.0, 0.5, 0.6, 0.7, 0.8, 0.9]))
    assert settings.probability == pytest.approx(5 / 8)
    assert settings.inside == pytest.approx((0.5, 0.6, 0.7, 0.8, 0.9))
    assert padding.padding_settings(np.ones(4)).probability == 0


def test_settings_and_sheet_are_made_from_a_folder_of_faces(tmp_path, capsys):
    write_faces(tmp_path / "faces" / "a.parquet", [1.0, 0.6, 1.0, 0.8])
    write_faces(tmp_path / "faces" / "deep" / "b.parquet", [1.0, 1.0, 0.9, 1.0])
    assert padding.main(tmp_path / "faces", out=tmp_path / "sheet.png", columns=3, rows=1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "8 chips of 2 videos; 37.5% are padded"
    assert lines[1].startswith("--encoder.augment.padaug.probability 0.375 --encoder.augment.padaug.inside 0.6 ")
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (2 * (96 + 4 + 16), 300, 3)
    real, simulated = pixels[:96, :96], pixels[116:212, :96]
    assert (real == 61).all(axis=2).mean() > 0.9
    assert (simulated == 0).all(axis=2).any()


def test_a_folder_without_faces_is_named_in_one_line(tmp_path, capsys):
    assert padding.main(tmp_path) == 3
    assert capsys.readouterr().err == f"error: {tmp_path}: no output of the stage 'faces'; give a file or a folder of its results\n"
