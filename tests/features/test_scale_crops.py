import numpy as np
import pytest
import torch

from abaw_ray.faces.chips import encode_jpeg
from abaw_ray.faces.config import ChipConfig
from abaw_ray.features.config import VisualConfig
from abaw_ray.features.scale_crops import DeviceCrops, HostCrops
from abaw_ray.features.visual import VisualFeatures

CHIPS = ChipConfig(scales=(1.0, 1.3, 1.7), size=56)
CPU = torch.device("cpu")


def picture(side, seed=0):
    """A picture with gradients in all directions and noise, RGB."""
    rng = np.random.default_rng(seed)
    small = torch.from_numpy(rng.uniform(0, 255, (1, 3, 7, 7)))
    smooth = torch.nn.functional.interpolate(small, (side, side), mode="bicubic")[0].permute(1, 2, 0).numpy()
    return np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def both(chips, scales=CHIPS.scales, size=CHIPS.size):
    made = [crops.crop(crops.prepare(chips)).numpy().astype(int) for crops in (HostCrops(scales, CHIPS, size), DeviceCrops(scales, CHIPS, size, CPU))]
    assert made[0].shape == made[1].shape == (len(chips) * len(scales), 3, size, size)
    return made


def definition(chip, scale):
    """The mean over equidistant positions, at least one per chip pixel, of linear interpolation, in double precision."""
    side = len(chip) * scale / CHIPS.scales[-1]
    count = int(np.ceil(side / CHIPS.size))
    position = (len(chip) - side) / 2 - 0.5 + (np.arange(CHIPS.size * count) + 0.5) * side / (CHIPS.size * count)
    basis = np.array([np.interp(position, np.arange(len(chip)), unit) for unit in np.eye(len(chip))])
    weights = basis.reshape(len(chip), CHIPS.size, count).mean(axis=2)
    return np.einsum("yi,xj,yxc->cij", weights, weights, chip.astype(float))


@pytest.mark.parametrize("sides", [[95], [94, 95, 40], [8, 200, 61, 62]])
def test_crops_of_the_device_agree_with_their_definition(sides):
    chips = [picture(side, seed=side) for side in sides]
    crops = DeviceCrops(CHIPS.scales, CHIPS, CHIPS.size, CPU)
    expected = np.array([definition(chip, scale) for chip in chips for scale in CHIPS.scales])
    assert np.abs(crops.crop(crops.prepare(chips)).numpy() - expected).max() < 0.501


@pytest.mark.parametrize("sides", [[95], [94, 95, 40], [200, 61, 62]])
def test_crops_of_the_device_differ_from_those_of_opencv_by_rounding_alone(sides):
    host, device = both([picture(side, seed=side) for side in sides])
    difference = np.abs(host - device)
    assert difference.max() <= 2
    assert difference.mean() < 0.3


def test_a_chip_does_not_depend_on_the_other_sides_in_its_batch():
    crops = DeviceCrops(CHIPS.scales, CHIPS, CHIPS.size, CPU)
    alone = crops.crop(crops.prepare([picture(40)]))
    among = crops.crop(crops.prepare([picture(90), picture(40)]))[3:]
    assert (alone.int() - among.int()).abs().max() <= 1


def test_vectors_from_crops_of_the_device_agree_with_those_of_opencv(encoder_folder):
    features = VisualFeatures(encoder_folder, VisualConfig(), CHIPS)
    jpegs = [encode_jpeg(picture(side), 95) for side in (95, 60, 47)]
    host = features(jpegs)[0].astype(np.float32)
    features.crops = DeviceCrops(CHIPS.scales, CHIPS, features.encoder.img_size, CPU)
    np.testing.assert_allclose(features(jpegs)[0].astype(np.float32), host, atol=2e-2)
