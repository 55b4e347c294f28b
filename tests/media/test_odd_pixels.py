import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from coded import check_frames, number_of, numbered_images, packets, write_coded, write_packets

from abaw_ray.media.video import decode

FORMATS = [
    ("libx264", "yuvj420p"),
    ("libx264", "yuv422p"),
    ("libx264", "yuv444p"),
    ("libx264", "yuv420p10le"),
    ("libx264rgb", "rgb24"),
    ("libx265", "yuv420p10le"),
    ("libx265", "yuv444p12le"),
    ("libx265", "gbrp"),
    ("ffv1", "yuv410p"),
    ("ffv1", "yuva420p"),
    ("ffv1", "bgra"),
    ("ffv1", "bgr0"),
    ("prores_ks", "yuv422p10le"),
    ("prores_ks", "yuva444p10le"),
    ("libvpx-vp9", "yuv444p"),
    ("mjpeg", "yuvj422p"),
    ("rawvideo", "yuyv422"),
    ("rawvideo", "nv12"),
]
"""Codecs and pixel formats: bit depths, chroma subsampling, ranges, alpha."""


@pytest.mark.parametrize(("codec", "pixels"), FORMATS)
def test_every_pixel_format_gives_the_right_image_and_colors(tmp_path, codec, pixels):
    options = {"x265-params": "log-level=none:crf=10"} if codec == "libx265" else {"crf": "10"} if "264" in codec or "vp9" in codec else {}
    coded = write_coded(tmp_path / "v.mkv", codec, 4, size=(96, 64), pixels=pixels, options=options)
    for frame, image in zip(check_frames(coded, 4), numbered_images(4), strict=True):
        assert np.abs(cv2.blur(frame.rgb().astype(float), (9, 9)) - cv2.blur(image.astype(float), (9, 9)))[8:-8, 60:-8].mean() < 5
        luma = frame.coarse_luma.astype(float)
        assert luma.shape == (36, 64) and luma[:16].mean() < 80 and luma[-4, 0] > 180


@pytest.mark.parametrize(("codec", "pixels"), [("libx264", "gray"), ("ffv1", "gray"), ("ffv1", "gray16le")])
def test_gray_videos_are_gray(tmp_path, codec, pixels):
    rgb = check_frames(write_coded(tmp_path / "v.mkv", codec, 4, pixels=pixels), 4)[3].rgb().astype(int)
    assert np.ptp(rgb, axis=-1).max() <= 3 and 180 < rgb[-4, 2].mean() < 240


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts", "v.mov", "v.avi"])
@pytest.mark.parametrize(("size", "pixels"), [((128, 96), "yuv420p"), ((96, 64), "yuv444p"), ((64, 48), "yuv420p10le")])
def test_size_and_pixel_format_may_change_within_the_stream(tmp_path, name, size, pixels):
    options, data = {"x264-params": "repeat-headers=1"}, []
    for part, (shape, kind) in enumerate([((96, 64), "yuv420p"), (size, pixels), ((96, 64), "yuv420p")]):
        coded, _ = packets("libx264", numbered_images(8, *shape), pixels=kind, options=options)
        data += [(bytes(packet), 8 * part + packet.pts, 8 * part + packet.dts) for packet in coded]
    frames = list(decode(write_packets(tmp_path / name, "libx264", (96, 64), data)))
    assert [frame.rgb().shape[:2] for frame in frames] == [(64, 96)] * 8 + [size[::-1]] * 8 + [(64, 96)] * 8
    assert [number_of(frame.rgb()) for frame in frames] == pytest.approx([*range(8)] * 3, abs=1)
    np.testing.assert_allclose(np.diff([frame.time for frame in frames]), 1 / 25, atol=1.1e-3)


@pytest.mark.parametrize(
    "turn", [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)]
)
def test_all_eight_orientations_are_rotated_upright(tmp_path, turn):
    path = Path(write_coded(tmp_path / "v.mp4", "libx264", 1))
    coded, data = next(decode(str(path))).rgb(), bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    assert struct.unpack_from(">9i", data, matrix) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    a, b, c, d = turn
    struct.pack_into(">5i", data, matrix, a << 16, b << 16, 0, c << 16, d << 16)
    path.write_bytes(data)
    y, x = np.mgrid[: coded.shape[0], : coded.shape[1]]
    across, down = a * x + c * y, b * x + d * y
    shown = np.zeros((np.ptp(down) + 1, np.ptp(across) + 1, 3), np.uint8)
    shown[down - down.min(), across - across.min()] = coded
    np.testing.assert_array_equal(next(decode(str(path))).rgb(), shown)
