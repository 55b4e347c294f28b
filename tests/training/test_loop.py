import threading

import pytest
import torch
from torch import nn

from abaw_ray.training.loop import PlainEngine, ahead, run_steps


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_batches_made_ahead_come_in_order_and_once(threads):
    assert list(ahead(range(20), lambda number: number * number, threads)) == [number * number for number in range(20)]


def test_batches_are_made_while_the_caller_works():
    second = threading.Event()

    def make(number):
        if number == 1:
            second.set()
        return number

    results = ahead(range(5), make, 2)
    assert next(results) == 0
    assert second.wait(timeout=10)
    assert list(results) == [1, 2, 3, 4]


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_in_making_a_batch_reaches_the_caller(threads):
    def make(number):
        if number == 3:
            raise KeyError("image 3")
        return number

    with pytest.raises(KeyError, match="image 3"):
        list(ahead(range(6), make, threads))


def fit(pieces_of, pieces, steps=range(12), model=None):
    torch.manual_seed(0)
    model = model or nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1)).double()
    optimizer = torch.optim.SGD([{"params": model.parameters(), "lr": 0.1, "peak": 0.1}])
    engine = PlainEngine(model, optimizer, clip=1.0, pieces=pieces)
    losses = run_steps(
        steps,
        pieces_of,
        lambda piece: (engine(piece[0]) - piece[1]).square().mean(),
        engine,
        rate=lambda step: 1 / (1 + step),
        seed=lambda step: step,
    )
    return model, torch.stack(list(losses))


def batch(step):
    generator = torch.Generator().manual_seed(step)
    inputs = torch.randn(8, 3, generator=generator).double()
    return inputs, inputs.sum(dim=1, keepdim=True)


def halves(step):
    inputs, wanted = batch(step)
    return [(inputs[:4], wanted[:4]), (inputs[4:], wanted[4:])]


def test_a_step_taken_in_pieces_is_the_step_of_the_whole_batch():
    plain = nn.Linear(3, 1).double()
    start = {name: value.clone() for name, value in plain.state_dict().items()}
    whole, losses = fit(lambda step: [batch(step)], 1, model=plain)
    again = nn.Linear(3, 1).double()
    again.load_state_dict(start)
    parts, part_losses = fit(halves, 2, model=again)
    torch.testing.assert_close(part_losses, losses)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_run_that_is_cut_in_two_repeats_the_dropout_of_the_whole_run():
    whole, losses = fit(lambda step: [batch(step)], 1)
    model, first = fit(lambda step: [batch(step)], 1, steps=range(5))
    model, second = fit(lambda step: [batch(step)], 1, steps=range(5, 12), model=model)
    torch.testing.assert_close(torch.cat([first, second]), losses)
    for one, other in zip(whole.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other)
