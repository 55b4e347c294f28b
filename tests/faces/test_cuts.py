import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.detection.cuts import CutConfig, Cuts


def room(seed, shift=0, light=0):
    """A room of soft stripes, seen from a little further right, in more or less light."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:36, :64] + shift
    waves = sum(rng.uniform(20, 50) * np.sin(x / rng.uniform(3, 12) + y / rng.uniform(3, 12) + rng.uniform(0, 6)) for _ in range(3))
    return np.clip(waves + rng.uniform(70, 190) + light, 0, 255).astype(np.uint8)


def cuts_in(pictures):
    cuts = Cuts(CutConfig())
    return [number for number, picture in enumerate(pictures) if cuts.first_of_shot(picture)]


def test_the_first_picture_of_every_shot_is_found_and_no_other():
    shots = [[room(seed, shift=0.1 * k) for k in range(20)] for seed in range(6)]
    assert cuts_in([picture for shot in shots for picture in shot]) == [0, 20, 40, 60, 80, 100]


def test_a_camera_that_moves_fast_or_a_light_that_changes_is_no_cut():
    assert cuts_in([room(3, shift=0.8 * k) for k in range(40)]) == [0]
    assert cuts_in([room(3, light=4 * k) for k in range(20)]) == [0]


def test_a_picture_that_stays_is_no_cut():
    assert cuts_in([room(1)] * 10) == [0]


@pytest.mark.parametrize("wrong", [{"points": 0}, {"histogram": 1.5}])
def test_thresholds_that_are_no_shares_are_refused(wrong):
    with pytest.raises(ConfigError, match="cuts"):
        CutConfig(**wrong)
