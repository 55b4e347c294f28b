"""Each degradation alone: what it removes, and what it leaves."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.encoder.augmentation.config import NO_DEGRADATION, DegradeConfig
from abaw_ray.encoder.augmentation.degrade import degrade, motion_kernel


@pytest.fixture(scope="module")
def view():
    """Noise of all frequencies around gray, in color."""
    rng = np.random.default_rng(5)
    smooth = cv2.resize(rng.integers(60, 200, (7, 7, 3), dtype=np.uint8), (112, 112), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 1, 255).astype(np.uint8)


def results(view, count=40, **change):
    return [degrade(view, np.random.default_rng(number), replace(NO_DEGRADATION, **change)) for number in range(count)]


def sharpness(image):
    return cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F).std()


def test_without_degradation_a_view_is_unchanged(view):
    before = view.copy()
    for result in results(view, count=3):
        np.testing.assert_array_equal(result, before)


@pytest.mark.parametrize("name", ["motion_blur", "defocus", "low_resolution"])
def test_blur_and_low_resolution_remove_detail_and_keep_brightness(view, name):
    degraded = results(view, **{name: 1.0})
    assert np.mean([sharpness(result) for result in degraded]) < 0.75 * sharpness(view)
    assert all(result.mean() == pytest.approx(view.mean(), abs=1.0) for result in degraded)
    assert len({result.tobytes() for result in degraded}) > 20


def test_noise_has_at_most_the_stated_deviation(view):
    differences = [(result.astype(float) - view).std() for result in results(view, noise=1.0, max_noise=10.0)]
    assert 8.5 < max(differences) < 10.5
    assert min(differences) < 2


def test_jpeg_of_low_quality_changes_more_than_of_high_quality(view):
    low, high = (
        np.mean([np.abs(result.astype(float) - view).mean() for result in results(view, jpeg=1.0, jpeg_quality=quality)])
        for quality in ((10, 20), (90, 95))
    )
    assert low > 1.3 * high > 0


def test_saturation_changes_colors_and_keeps_luma(view):
    for result in results(view, saturation=0.5, count=10):
        luma = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float) for image in (view, result)]
        assert np.abs(luma[0] - luma[1]).mean() < 1.5
    spread = [result.std(axis=2).mean() / view.std(axis=2).mean() for result in results(view, saturation=0.5)]
    assert min(spread) < 0.7 and max(spread) > 1.3


def test_erasing_fills_one_rectangle_of_the_stated_area_with_one_color(view):
    areas = []
    for result in results(view, erasing=1.0, erased_area=(0.05, 0.1)):
        rows, columns = np.nonzero((result != view).any(axis=2))
        box = result[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert len(np.unique(box.reshape(-1, 3), axis=0)) == 1
        areas.append(box.shape[0] * box.shape[1] / view.shape[0] ** 2)
    assert min(areas) > 0.045 and max(areas) < 0.105


def test_probabilities_are_those_of_the_settings(view):
    changed = [not np.array_equal(result, view) for result in results(view, count=1000, erasing=0.3)]
    assert 0.25 < np.mean(changed) < 0.35
    blurred = [not np.array_equal(result, view) for result in results(view, count=1000, motion_blur=0.2, defocus=0.3)]
    assert 0.44 < np.mean(blurred) < 0.56


def test_black_stays_black_unless_noise_or_erasing_reaches_it(view):
    half = view.copy()
    half[:, :56] = 0
    for result in results(half, motion_blur=0.5, defocus=0.5, low_resolution=1.0, saturation=0.5, count=10):
        assert result[:, :40].max() == 0


@pytest.mark.parametrize(("length", "angle", "extent"), [(9, 0, (1, 9)), (9, np.pi / 2, (9, 1)), (1, 0.3, (1, 1))])
def test_the_motion_kernel_is_a_line_of_its_length(length, angle, extent):
    kernel = motion_kernel(length, angle)
    assert kernel.sum() == pytest.approx(1.0)
    used = [int((kernel.sum(axis=axis) > 0).sum()) for axis in (1, 0)]
    assert np.abs(np.array(used) - extent).max() <= 2


@pytest.mark.parametrize(
    "change", [{"noise": 1.5}, {"motion_blur": 0.6, "defocus": 0.6}, {"min_resolution": 0.0}, {"jpeg_quality": (90, 10)}, {"erased_area": (0.0, 0.1)}]
)
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(ConfigError, match="degrade"):
        DegradeConfig(**change)
