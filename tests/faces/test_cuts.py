import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.config import CutConfig
from abaw_ray.faces.detection.cuts import CutDetector


def room(seed, shift=0, light=0):
    """Coarse luma (36, 64) of a room of soft stripes; ``shift`` moves the camera, ``light`` changes the brightness."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:36, :64] + shift
    waves = sum(rng.uniform(20, 50) * np.sin(x / rng.uniform(3, 12) + y / rng.uniform(3, 12) + rng.uniform(0, 6)) for _ in range(3))
    return np.clip(waves + rng.uniform(70, 190) + light, 0, 255).astype(np.uint8)


def cuts_in(frames):
    cuts = CutDetector(CutConfig())
    return [number for number, luma in enumerate(frames) if cuts.starts_shot(luma)]


def test_the_first_frame_of_every_shot_is_detected_and_no_other():
    shots = [[room(seed, shift=0.1 * k) for k in range(20)] for seed in range(6)]
    assert cuts_in([luma for shot in shots for luma in shot]) == [0, 20, 40, 60, 80, 100]


def test_a_fast_camera_motion_or_a_change_of_light_is_not_a_cut():
    assert cuts_in([room(3, shift=0.8 * k) for k in range(40)]) == [0]
    assert cuts_in([room(3, light=4 * k) for k in range(20)]) == [0]


def test_a_cut_between_dark_shots_is_detected_and_noise_in_a_black_frame_is_no_cut():
    shots = [[(room(seed, shift=0.1 * k) * 0.25).astype(np.uint8) for k in range(20)] for seed in range(5)]
    assert cuts_in([luma for shot in shots for luma in shot]) == [0, 20, 40, 60, 80]
    noise = np.random.default_rng(0)
    assert cuts_in([noise.integers(14, 20, (36, 64), dtype=np.uint8) for _ in range(20)]) == [0]


def test_noise_in_every_frame_is_not_a_cut_in_every_frame():
    rng, detector = np.random.default_rng(0), CutDetector(CutConfig())
    cuts = [detector.starts_shot(rng.integers(0, 255, (36, 64), dtype=np.uint8)) for _ in range(50)]
    assert sum(cuts) <= 5
    assert not any(cuts[5:])


def test_a_still_video_has_no_cut():
    assert cuts_in([room(1)] * 10) == [0]


@pytest.mark.parametrize("wrong", [{"min_pixel_change": 0}, {"min_histogram_change": 1.5}, {"min_correlation": 2}])
def test_thresholds_outside_0_to_1_are_refused(wrong):
    with pytest.raises(ConfigError, match="cuts"):
        CutConfig(**wrong)
