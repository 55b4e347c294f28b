import pytest

from abaw_ray.encoder.memory import EncoderShape, largest_micro_batch

VIT_L = {"shape": EncoderShape(24, 257, 1024), "parameters": 304_000_000, "recompute": False}


@pytest.mark.parametrize(("gigabytes", "images"), [(140, 256), (80, 128), (47, 64), (24, 32), (15, 8)])
def test_the_micro_batch_of_vit_large_follows_the_memory(gigabytes, images):
    assert largest_micro_batch(gigabytes * 1e9, **VIT_L) == images


def test_recomputation_needs_less_memory_and_at_least_one_image_is_tried():
    assert largest_micro_batch(24e9, **VIT_L | {"recompute": True}) == 256
    assert largest_micro_batch(1e9, **VIT_L) == 1
    assert largest_micro_batch(None, **VIT_L) == 64
