from dataclasses import replace

import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.encoder.augmentation.config import NO_DEGRADATION, AugmentConfig, DegradeConfig


def test_full_strength_changes_nothing():
    assert AugmentConfig().scaled() == AugmentConfig()


def test_half_strength_halves_ranges_and_probabilities_but_neither_scales_nor_padding():
    config = AugmentConfig(strength=0.5)
    found = config.scaled()
    assert (found.max_shift, found.max_rotation_deg, found.brightness, found.gamma) == (0.025, 5.0, 0.125, 0.125)
    assert found.degrade == DegradeConfig(motion_blur=0.05, defocus=0.05, low_resolution=0.1, noise=0.05, jpeg=0.1, saturation=0.1, erasing=0.05)
    assert (found.scales, found.padaug, found.hflip_prob, found.strength) == (config.scales, config.padaug, config.hflip_prob, 1.0)


def test_no_strength_disables_all_but_crops_flips_and_padding():
    found = AugmentConfig(strength=0.0).scaled()
    assert found == replace(AugmentConfig(), max_shift=0.0, max_rotation_deg=0.0, brightness=0.0, gamma=0.0, degrade=NO_DEGRADATION)


def test_the_greatest_strength_is_limited_to_valid_settings():
    found = AugmentConfig(strength=4.0, max_shift=0.4, brightness=0.6, degrade=DegradeConfig(motion_blur=0.4, defocus=0.4, jpeg=0.9)).scaled()
    assert (found.max_shift, found.brightness, found.degrade.motion_blur, found.degrade.defocus, found.degrade.jpeg) == (0.45, 0.9, 0.5, 0.5, 1.0)


@pytest.mark.parametrize("strength", [-0.1, 4.1])
def test_a_strength_out_of_range_is_refused(strength):
    with pytest.raises(ConfigError, match=r"augment\.strength=.* must lie between 0 and 4"):
        AugmentConfig(strength=strength)
