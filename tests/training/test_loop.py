import threading

import pytest
import torch
from torch import nn

from abaw_ray.training.loop import PlainEngine, Prefetcher, prefetch, run_steps


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_prefetch_yields_every_result_once_and_in_order(num_workers):
    assert list(prefetch(range(20), lambda number: number * number, num_workers)) == [number * number for number in range(20)]


def test_prefetch_computes_results_before_they_are_requested():
    second = threading.Event()

    def make(number):
        if number == 1:
            second.set()
        return number

    results = prefetch(range(5), make, 2)
    assert next(results) == 0
    assert second.wait(timeout=10)
    assert list(results) == [1, 2, 3, 4]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_prefetch_raises_an_error_in_the_caller(num_workers):
    def make(number):
        if number == 3:
            raise KeyError("image 3")
        return number

    with pytest.raises(KeyError, match="image 3"):
        list(prefetch(range(6), make, num_workers))


def fit(micro_batches_of, accumulation, steps=range(12), model=None):
    torch.manual_seed(0)
    model = model or nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1)).double()
    optimizer = torch.optim.SGD([{"params": model.parameters(), "lr": 0.1, "peak_lr": 0.1}])
    engine = PlainEngine(model, optimizer, max_grad_norm=1.0, gradient_accumulation_steps=accumulation)
    losses = run_steps(
        steps,
        micro_batches_of,
        lambda micro_batch: (engine(micro_batch[0]) - micro_batch[1]).square().mean(),
        engine,
        lr_multiplier=lambda step: 1 / (1 + step),
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


def test_a_step_with_gradient_accumulation_equals_the_step_of_the_whole_batch():
    plain = nn.Linear(3, 1).double()
    start = {name: value.clone() for name, value in plain.state_dict().items()}
    whole, losses = fit(lambda step: [batch(step)], 1, model=plain)
    copy = nn.Linear(3, 1).double()
    copy.load_state_dict(start)
    accumulated, accumulated_losses = fit(halves, 2, model=copy)
    torch.testing.assert_close(accumulated_losses, losses)
    for one, other in zip(whole.parameters(), accumulated.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_resumed_run_repeats_the_dropout_of_an_uninterrupted_run():
    whole, losses = fit(lambda step: [batch(step)], 1)
    model, first = fit(lambda step: [batch(step)], 1, steps=range(5))
    model, second = fit(lambda step: [batch(step)], 1, steps=range(5, 12), model=model)
    torch.testing.assert_close(torch.cat([first, second]), losses)
    for one, other in zip(whole.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_the_threads_of_a_prefetcher_serve_several_series_and_end_with_it():
    prefetcher, threads = Prefetcher(2), set()

    def make(number):
        threads.add(threading.current_thread())
        return number

    for _ in range(5):
        assert list(prefetcher(range(8), make)) == list(range(8))
    assert len(threads) <= 2
    prefetcher.close()
    assert not any(thread.is_alive() for thread in threads)


def test_items_that_were_not_begun_are_not_computed_after_an_iterator_is_closed():
    prefetcher, made, go = Prefetcher(1), [], threading.Event()

    def make(number):
        if number > 0:
            go.wait(timeout=10)
        made.append(number)
        return number

    series = prefetcher(range(100), make)
    assert next(series) == 0
    series.close()
    go.set()
    assert list(prefetcher([7], make)) == [7]
    assert len(made) <= 4
    prefetcher.close()


def test_the_wait_for_the_micro_batches_of_each_step_is_reported_without_the_time_of_the_step(monkeypatch):
    clock, waits = [0.0], []
    monkeypatch.setattr("abaw_ray.training.loop.time.monotonic", lambda: clock[0])
    model = nn.Linear(3, 1).double()
    optimizer = torch.optim.SGD([{"params": model.parameters(), "lr": 0.1, "peak_lr": 0.1}])
    engine = PlainEngine(model, optimizer, gradient_accumulation_steps=2)

    def load(step):
        clock[0] += 2.0 + step
        return halves(step)

    def loss_of(micro_batch):
        clock[0] += 100.0
        return engine(micro_batch[0]).sum()

    steps = run_steps(range(3), load, loss_of, engine, lr_multiplier=lambda step: 1.0, seed=lambda step: step, on_data_wait=waits.append)
    assert len(list(steps)) == 3
    assert waits == [2.0, 3.0, 4.0]
