import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.chips import crop_chip, crop_scale, decode_jpeg, encode_jpeg
from abaw_ray.faces.config import ChipConfig
from abaw_ray.media.square_crop import square_around

number = st.floats(-150, 350, allow_nan=False)
length = st.floats(1, 200)
box = st.tuples(number, number, length, length).map(lambda b: np.array([b[0], b[1], b[0] + b[2], b[1] + b[3]]))
config = st.sampled_from([ChipConfig(), ChipConfig(scales=(1.0, 1.25, 1.6), size=32), ChipConfig(scales=(2.0,), size=16)])
IMAGE = np.random.default_rng(0).integers(1, 256, (180, 240, 3), dtype=np.uint8)  # black is outside only


def slow_square(rgb, left, top, side):
    """The definition: pixel (i, j) of the square is pixel (top + i, left + j) of the image, black where there is none."""
    out = np.zeros((side, side, 3), np.uint8)
    for i in range(side):
        for j in range(side):
            if 0 <= top + i < rgb.shape[0] and 0 <= left + j < rgb.shape[1]:
                out[i, j] = rgb[top + i, left + j]
    return out


@settings(max_examples=40)
@given(box, config)
def test_a_chip_has_the_native_resolution_black_outside_and_is_never_enlarged(box, config):
    chip = crop_chip(IMAGE, box, config)
    left, top, side = square_around(box, config.scales[-1])
    slow = slow_square(IMAGE, left, top, side)
    assert chip.inside == pytest.approx((slow > 0).any(axis=-1).mean())
    assert chip.image.shape == (len(chip.image), len(chip.image), 3)
    if side <= config.max_side:
        assert chip.scale == 1
        np.testing.assert_array_equal(chip.image, slow)
    else:
        assert len(chip.image) == config.max_side and chip.scale == pytest.approx(config.max_side / side)
        assert abs(chip.image.mean() - slow.mean()) < 2


@given(box, config)
def test_the_smallest_scale_of_a_shrunk_chip_has_the_encoders_size_up_to_rounding_to_even(box, config):
    chip = crop_chip(IMAGE, box, config)
    if chip.scale < 1:
        largest = config.size * config.scales[-1] / config.scales[0]
        assert largest - 2 < len(chip.image) <= largest and len(chip.image) % 2 == 0


@given(box, config)
def test_every_scale_has_the_encoders_size_whatever_the_chip(box, config):
    chip = crop_chip(IMAGE, box, config).image
    for scale in config.scales:
        assert crop_scale(chip, scale, config).shape == (config.size, config.size, 3)
    assert crop_scale(chip, config.scales[0], config, 9).shape == (9, 9, 3)


def smooth_image():
    """Waves of 35 to 90 pixels in brightness and color: compresses like a face, not like noise."""
    y, x = np.mgrid[:240, :320]
    waves = [np.sin(x / 7 + y / 11), np.sin(x / 8 + y / 12), np.sin(x / 9 + y / 13)]
    return (np.stack(waves, axis=-1) * 60 + 128).astype(np.uint8)


@pytest.mark.parametrize("size", [64, 112])
@pytest.mark.parametrize("box", [[100, 80, 160, 150], [10.3, 20.7, 90.1, 80.2], [-30, -20, 60, 70], [250, 180, 340, 260]])
def test_each_scale_of_a_stored_chip_equals_a_direct_crop_of_the_frame_within_jpeg_error(box, size):
    rgb, config, box = smooth_image(), ChipConfig(size=size), np.array(box, dtype=float)
    chip = decode_jpeg(encode_jpeg(crop_chip(rgb, box, config).image, config.quality))
    for scale in config.scales:
        left, top, side = square_around(box, scale)
        direct = cv2.resize(slow_square(rgb, left, top, side), (size, size), interpolation=cv2.INTER_AREA).astype(int)
        error = np.abs(crop_scale(chip, scale, config) - direct).mean()
        assert error < 4, f"scale {scale}: mean error {error:.1f} gray levels"
        other = crop_scale(chip, config.scales[-1] if scale < 1.5 else config.scales[0], config).astype(int)
        assert np.abs(other - direct).mean() > 8, "another scale must not pass this test"


def test_a_scale_is_cropped_around_the_center_with_subpixel_accuracy():
    ramp = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 200, axis=0).repeat(3, axis=2)
    config = ChipConfig(scales=(1.0, 1.6), size=50)
    for scale, size in ((1.0, 50), (1.6, 50), (1.0, 250), (0.7, 33)):
        row = crop_scale(ramp, scale, config, size)[size // 2, :, 0].astype(float)
        side = 200 * scale / 1.6
        expected = (200 - side) / 2 + (np.arange(size) + 0.5) * side / size - 0.5
        np.testing.assert_allclose(row[1:-1], expected[1:-1], atol=0.6)


def test_jpeg_keeps_the_channel_order():
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    np.testing.assert_allclose(decode_jpeg(encode_jpeg(red, 90)).mean(axis=(0, 1)), [200, 0, 0], atol=4)


def test_a_scale_that_is_not_in_the_chip_is_refused():
    with pytest.raises(ValueError, match="not in the chip"):
        crop_scale(IMAGE[:50, :50], 1.8, ChipConfig())


def test_bytes_that_are_not_an_image_are_refused():
    for data in (b"", b"nothing"):
        with pytest.raises(ValueError, match="not an image"):
            decode_jpeg(data)


@pytest.mark.parametrize("wrong", [{"scales": ()}, {"scales": (1.3, 1.0)}, {"scales": (0.0, 1.0)}, {"size": 2}, {"quality": 0}])
def test_invalid_chip_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match="chips"):
        ChipConfig(**wrong)
