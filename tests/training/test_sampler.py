import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.training.sampler import Sampler


@pytest.mark.parametrize(("size", "batch_size"), [(100, 10), (103, 10), (7, 32), (1, 3)])
def test_every_sample_occurs_once_per_epoch(size, batch_size):
    sampler = Sampler(size=size, global_batch_size=batch_size, seed=3)
    indices = np.concatenate([sampler.indices(step) for step in range(3 * size)])[: 3 * size]
    for epoch in range(3):
        assert sorted(indices[epoch * size : (epoch + 1) * size]) == list(range(size))


def test_a_step_is_the_same_whether_or_not_the_steps_before_it_were_taken():
    consecutive = Sampler(size=50, global_batch_size=8, seed=1)
    steps = [consecutive.indices(step) for step in range(40)]
    for step in (39, 0, 17):
        np.testing.assert_array_equal(Sampler(size=50, global_batch_size=8, seed=1).indices(step), steps[step])


def test_seeds_and_epochs_shuffle_differently():
    first = Sampler(size=64, global_batch_size=64, seed=0)
    assert (first.indices(0) != first.indices(1)).any()
    assert (first.indices(0) != Sampler(size=64, global_batch_size=64, seed=1).indices(0)).any()


def test_an_empty_set_is_refused():
    with pytest.raises(ConfigError, match="0 samples"):
        Sampler(size=0, global_batch_size=8, seed=0)
