"""Image files of every kind become one upright frame in 8-bit RGB, or an error that says why not."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from abaw_ray.core.errors import ItemError, MissingError
from abaw_ray.media import still as still_module
from abaw_ray.media.still import read_still

RNG = np.random.default_rng(0)
PICTURE = np.kron(RNG.integers(0, 256, (6, 9, 3)), np.ones((8, 8, 1))).astype(np.uint8)
"""A picture of 72 x 48 pixels without symmetry."""


def saved(path, image, **options):
    image.save(path, **options)
    return str(path)


@pytest.mark.parametrize(("name", "tolerance"), [("i.png", 0), ("i.bmp", 0), ("i.tiff", 0), ("i.TIF", 0), ("i.webp", 0), ("i.jpg", 6), ("i.JPEG", 6)])
def test_every_format_gives_its_pixels_as_frame_1_at_0_s(tmp_path, name, tolerance):
    options = {"lossless": True} if name == "i.webp" else {"quality": 97, "subsampling": 0} if tolerance else {}
    frame = read_still(saved(tmp_path / name, Image.fromarray(PICTURE), **options))
    assert (frame.number, frame.time, frame.width, frame.height) == (1, 0.0, 72, 48)
    assert np.abs(frame.rgb().astype(int) - PICTURE).mean() <= tolerance


def test_the_frame_gives_the_crops_and_sizes_of_a_video_frame(tmp_path):
    frame = read_still(saved(tmp_path / "i.png", Image.fromarray(PICTURE)))
    np.testing.assert_array_equal(frame.crop(9, 5, 21, 30), PICTURE[5:35, 9:30])
    assert frame.resized(36, 24).shape == (24, 36, 3) and frame.coarse_luma.shape == (36, 64)


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, lambda p: p),
        (2, lambda p: p[:, ::-1]),
        (3, lambda p: np.rot90(p, 2)),
        (4, lambda p: p[::-1]),
        (5, lambda p: p.transpose(1, 0, 2)),
        (6, lambda p: np.rot90(p, 1)),
        (7, lambda p: np.rot90(p.transpose(1, 0, 2), 2)),
        (8, lambda p: np.rot90(p, 3)),
    ],
)
def test_all_eight_exif_orientations_are_applied(tmp_path, orientation, stored):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "i.png", Image.fromarray(np.ascontiguousarray(stored(PICTURE))), exif=exif)
    np.testing.assert_array_equal(read_still(path).rgb(), PICTURE)


def test_transparent_pixels_are_white(tmp_path):
    alpha = np.full((48, 72, 1), 255, np.uint8)
    alpha[:, :24], alpha[:, 24:48] = 0, 128
    rgb = read_still(saved(tmp_path / "i.png", Image.fromarray(np.concatenate([PICTURE, alpha], axis=2)))).rgb()
    assert (rgb[:, :24] == 255).all()
    np.testing.assert_allclose(rgb[:, 24:48], (PICTURE[:, 24:48].astype(float) * 128 + 255 * 127) / 255, atol=1)
    np.testing.assert_array_equal(rgb[:, 48:], PICTURE[:, 48:])


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "I;16"])
def test_images_of_other_modes_become_rgb(tmp_path, mode):
    gray = PICTURE[..., 0]
    if mode == "I;16":
        image, expected = Image.fromarray(gray.astype(np.uint16) * 257), np.repeat(gray[..., None], 3, axis=2)
    else:
        image = Image.fromarray(PICTURE).convert(mode)
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_still(saved(tmp_path / "i.png", image)).rgb(), expected)


def test_cmyk_jpeg_and_16_bit_tiff_are_converted(tmp_path):
    image = Image.fromarray(PICTURE).convert("CMYK")
    rgb = read_still(saved(tmp_path / "i.jpg", image, quality=97)).rgb()
    assert np.abs(rgb.astype(int) - PICTURE).mean() < 8
    wide = Image.fromarray(PICTURE[..., 0].astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_still(saved(tmp_path / "i.tif", wide)).rgb()[..., 1], PICTURE[..., 0])


@pytest.mark.parametrize("name", ["i.gif", "i.webp"])
def test_of_an_animated_file_the_first_image_is_read(tmp_path, name):
    red, blue = (Image.new("RGB", (32, 32), color) for color in ((250, 0, 0), (0, 0, 250)))
    path = saved(tmp_path / name, red, save_all=True, append_images=[blue, blue], duration=100)
    assert np.abs(read_still(path).rgb().astype(int) - (250, 0, 0)).max() < 12


@pytest.mark.parametrize("name", ["i.jpg", "i.png", "i.webp", "i.bmp", "i.tiff", "i.gif"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_a_truncated_file_is_damaged(tmp_path, name, share):
    noise = Image.fromarray(RNG.integers(0, 256, (96, 96, 3), dtype=np.uint8))
    data = io.BytesIO()
    noise.save(data, {"jpg": "JPEG", "tiff": "TIFF"}.get(name[2:], name[2:]))
    (tmp_path / name).write_bytes(data.getvalue()[: round(share * len(data.getvalue()))])
    with pytest.raises(ItemError, match="damaged|not an image"):
        read_still(str(tmp_path / name))


def test_huge_images_are_refused_before_they_are_decoded(tmp_path):
    """A PNG of a few hundred bytes that states 30,000 x 30,000 pixels."""
    data = bytearray(open_bytes(tmp_path / "i.png", Image.new("L", (8, 8))))
    data[16:24] = struct.pack(">II", 30_000, 30_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "i.png").write_bytes(data)
    with pytest.raises(ItemError, match="pixels, more than 100 million|more than 100 million pixels"):
        read_still(str(tmp_path / "i.png"))


def test_an_image_just_above_the_limits_is_refused_and_one_at_the_limits_is_read(tmp_path, monkeypatch):
    path = saved(tmp_path / "i.bmp", Image.fromarray(PICTURE))
    monkeypatch.setattr(still_module, "_MAX_PIXELS", 72 * 48)
    monkeypatch.setattr(still_module, "_MAX_BYTES", (tmp_path / "i.bmp").stat().st_size)
    assert read_still(path).width == 72
    monkeypatch.setattr(still_module, "_MAX_PIXELS", 72 * 48 - 1)
    with pytest.raises(ItemError, match="72 x 48 pixels"):
        read_still(path)
    monkeypatch.setattr(still_module, "_MAX_BYTES", 100)
    with pytest.raises(ItemError, match="save the image at a smaller size"):
        read_still(path)


def test_floating_point_pixels_other_files_and_missing_files_are_errors(tmp_path):
    with pytest.raises(ItemError, match="floating-point"):
        read_still(saved(tmp_path / "i.tiff", Image.fromarray(np.zeros((8, 8), np.float32))))
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(ItemError, match="not an image"):
        read_still(str(tmp_path / "text.jpg"))
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ItemError, match="empty"):
        read_still(str(tmp_path / "empty.jpg"))
    with pytest.raises(MissingError, match="no such file"):
        read_still(str(tmp_path / "gone.jpg"))


def test_an_image_in_an_object_store_is_read(tmp_path, object_store):
    large = RNG.integers(0, 256, (900, 900, 3), dtype=np.uint8)  # more than one range of bytes
    object_store.create_bucket(Bucket="images")
    object_store.put_object(Bucket="images", Key="i.png", Body=open_bytes(tmp_path / "i.png", Image.fromarray(large)))
    np.testing.assert_array_equal(read_still("s3://images/i.png").rgb(), large)
    with pytest.raises(MissingError):
        read_still("s3://images/gone.png")


def open_bytes(path, image):
    image.save(path)
    return path.read_bytes()
