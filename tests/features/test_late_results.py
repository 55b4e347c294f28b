import numpy as np
import torch

from abaw_ray.features.late_results import one_batch_late


def test_a_result_is_collected_after_the_next_batch_was_launched():
    events = []

    def launch():
        for number in range(3):
            events.append(f"launch {number}")
            yield number, torch.full((2,), float(number))

    for number, values in one_batch_late(launch()):
        np.testing.assert_array_equal(values, np.full(2, number))
        events.append(f"collect {number}")
    assert events == ["launch 0", "launch 1", "collect 0", "launch 2", "collect 1", "collect 2"]


def test_no_batch_gives_no_result():
    assert list(one_batch_late(iter(()))) == []
