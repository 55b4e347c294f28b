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


@pytest.mark.parametrize("world_size", [1, 2, 4, 8])
def test_the_indices_of_all_ranks_concatenated_are_those_of_the_step(world_size):
    sampler = Sampler(size=30, global_batch_size=8, seed=0)
    for step in range(9):
        parts = [sampler.rank_indices(step, rank, world_size) for rank in range(world_size)]
        assert {len(part) for part in parts} == {8 // world_size}
        np.testing.assert_array_equal(np.concatenate(parts), sampler.indices(step))


def test_seeds_and_epochs_shuffle_differently():
    first = Sampler(size=64, global_batch_size=64, seed=0)
    assert (first.indices(0) != first.indices(1)).any()
    assert (first.indices(0) != Sampler(size=64, global_batch_size=64, seed=1).indices(0)).any()


def test_ranks_that_do_not_divide_the_batch_are_refused():
    with pytest.raises(ConfigError, match="multiple of 3"):
        Sampler(size=30, global_batch_size=8, seed=0).rank_indices(0, 0, 3)
