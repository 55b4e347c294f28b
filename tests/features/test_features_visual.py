import numpy as np
import pytest
import torch

from abaw_ray.core.errors import ConfigError, DataError, ItemError, StageError
from abaw_ray.encoder.checkpoint import load_encoder
from abaw_ray.faces.chips import crop_scale, decode_jpeg, encode_jpeg
from abaw_ray.faces.config import ChipConfig
from abaw_ray.features.config import DeviceConfig, VisualConfig
from abaw_ray.features.visual import VisualFeatures

CHIPS = ChipConfig(scales=(1.0, 1.3, 1.7), size=28)


def chip(seed, side=48):
    """JPEG of a mosaic of 6 x 6 random colors with more red than blue."""
    rng = np.random.default_rng(seed)
    small = rng.uniform(0, 255, size=(6, 6, 3)) * np.array([1.0, 0.6, 0.3])
    return encode_jpeg(np.kron(small, np.ones((side // 6, side // 6, 1))).astype(np.uint8), 95)


@pytest.fixture(scope="module")
def features(encoder_folder):
    return VisualFeatures(encoder_folder, VisualConfig(), CHIPS)


def slow_vector(folder, jpeg, scales=CHIPS.scales):
    """The mean of the saved encoder's vectors of each scale."""
    encoder, vectors = load_encoder(folder), []
    for scale in scales:
        crop = crop_scale(decode_jpeg(jpeg), scale, CHIPS, encoder.img_size)
        with torch.inference_mode():
            vectors.append(encoder(torch.from_numpy(crop.transpose(2, 0, 1)[None].copy()))[0].numpy())
    return np.mean(vectors, axis=0)


def test_a_vector_is_the_mean_of_the_encoder_over_the_scales_in_rgb(features, encoder_folder):
    jpegs = [chip(seed) for seed in range(5)]
    vectors, present, _ = features(jpegs)
    assert present.all() and vectors.dtype == np.float16 and vectors.shape == (5, 24)
    slow = np.array([slow_vector(encoder_folder, jpeg) for jpeg in jpegs])
    np.testing.assert_allclose(vectors.astype(np.float32), slow, atol=3e-3)
    bgr = encode_jpeg(np.ascontiguousarray(decode_jpeg(jpegs[0])[:, :, ::-1]), 95)
    assert np.abs(features([bgr])[0].astype(np.float32) - slow[0]).max() > 0.05


def test_a_frame_without_a_chip_has_no_vector_and_does_not_pass_through_the_encoder(features):
    batch_sizes, inner = [], features.encoder.forward
    features.encoder.forward = lambda pixels: (batch_sizes.append(len(pixels)), inner(pixels))[1]
    vectors, present, _ = features([None, chip(0), None, None, chip(1)])
    features.encoder.forward = inner
    np.testing.assert_array_equal(present, [False, True, False, False, True])
    assert sum(batch_sizes) == 2 * len(CHIPS.scales)
    assert not vectors[~present].any()
    assert np.abs(vectors[present]).min(axis=1).max() > 0
    assert features([None, None])[0].shape == (2, 24) and features([])[0].shape == (0, 24)


@pytest.mark.parametrize(("batch_size", "decode_workers"), [(1, 0), (7, 0), (96, 2)])
def test_no_batch_exceeds_the_batch_size_and_vectors_do_not_depend_on_it(features, encoder_folder, batch_size, decode_workers):
    jpegs = [chip(seed) if seed % 4 else None for seed in range(21)]
    device = DeviceConfig(visual_batch_size=batch_size, decode_workers=decode_workers)
    extractor, batch_sizes = VisualFeatures(encoder_folder, VisualConfig(), CHIPS, device), []
    inner = extractor.encoder.forward
    extractor.encoder.forward = lambda pixels: (batch_sizes.append(len(pixels)), inner(pixels))[1]
    np.testing.assert_allclose(extractor(jpegs)[0].astype(np.float32), features(jpegs)[0].astype(np.float32), atol=2e-3)
    assert max(batch_sizes) <= max(batch_size, len(CHIPS.scales))


def test_vectors_are_the_same_bits_for_any_number_of_decoding_threads(encoder_folder):
    jpegs = [chip(seed) if seed % 4 else None for seed in range(21)]
    devices = [DeviceConfig(visual_batch_size=9, decode_workers=count) for count in (0, 1, 3)]
    alone, *others = (VisualFeatures(encoder_folder, VisualConfig(), CHIPS, device)(jpegs).vectors for device in devices)
    assert all(np.array_equal(alone, vectors) for vectors in others) and len(np.unique(alone, axis=0)) > 10


def test_a_frame_does_not_depend_on_its_neighbors(features):
    alone = features([chip(3)])[0]
    among = features([chip(0), None, chip(3), chip(7)])[0]
    np.testing.assert_allclose(alone[0].astype(np.float32), among[2].astype(np.float32), atol=2e-3)


def test_a_subset_of_the_scales_is_accepted_and_larger_ones_are_refused(encoder_folder):
    extractor = VisualFeatures(encoder_folder, VisualConfig(scales=(1.3,)), CHIPS)
    np.testing.assert_allclose(extractor([chip(1)])[0][0].astype(np.float32), slow_vector(encoder_folder, chip(1), (1.3,)), atol=3e-3)
    with pytest.raises(ConfigError, match="exceed the chips' largest"):
        VisualFeatures(encoder_folder, VisualConfig(scales=(1.0, 2.0)), CHIPS)


def test_a_broken_chip_is_an_item_error_that_names_its_row(features):
    with pytest.raises(ItemError, match="row 2 cannot be decoded"):
        features([chip(0), b"no picture"])


def test_an_overflow_of_half_precision_is_an_error(encoder_folder):
    extractor = VisualFeatures(encoder_folder, VisualConfig(), CHIPS)
    inner = extractor.encoder.forward
    extractor.encoder.forward = lambda pixels: inner(pixels) * 1e6
    with pytest.raises(StageError, match="not finite in half precision"):
        extractor([chip(0)])


def test_a_folder_without_an_encoder_is_a_data_error_and_a_missing_gpu_a_config_error(encoder_folder, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="give the folder"):
        VisualFeatures(tmp_path, VisualConfig(), CHIPS)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="has no GPU"):
        VisualFeatures(encoder_folder, VisualConfig(), CHIPS, DeviceConfig(device="cuda"))


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"visual_batch_size": 0}, {"decode_workers": -1}])
def test_device_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        DeviceConfig(**wrong)
