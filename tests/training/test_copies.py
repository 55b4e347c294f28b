from contextlib import contextmanager
from typing import NamedTuple

import pytest
import torch

from abaw_ray.training.copies import PlainCopies, StreamCopies, copies_to, map_tensors, on_device, pinned


class Inner(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor


class Batch(NamedTuple):
    values: torch.Tensor
    inner: Inner
    name: str


def batch(number):
    return Batch(torch.full((2,), float(number)), Inner(torch.tensor(number), torch.tensor([number, number])), f"batch {number}")


@pytest.mark.parametrize("count", [0, 1, 4])
def test_batches_keep_their_order_content_and_types(count):
    wanted = [batch(number) for number in range(count)]
    found = list(on_device((batch(number) for number in range(count)), copies_to("cpu")))
    assert [type(one.inner) for one in found] == [Inner] * count
    assert [(int(one.values[0]), int(one.inner.left), one.inner.right.tolist(), one.name) for one in found] == [
        (number, number, [number, number], f"batch {number}") for number in range(count)
    ]
    moved = list(on_device(wanted, copies_to("meta")))
    assert {one.values.device.type for one in moved} | {one.inner.right.device.type for one in moved} <= {"meta"}
    assert [one.name for one in moved] == [one.name for one in wanted]


def test_the_next_batch_is_copied_before_a_batch_is_used():
    events = []

    def made():
        for number in range(4):
            events.append(f"make {number}")
            yield [torch.tensor(number)]

    for (value,) in on_device(made(), copies_to("cpu")):
        events.append(f"use {int(value)}")
    assert events == ["make 0", "make 1", "use 0", "make 2", "use 1", "make 3", "use 2", "use 3"]


def test_on_a_cpu_tensors_are_not_copied_and_not_pinned():
    one = batch(1)
    assert next(on_device([one], copies_to("cpu"))).values is one.values
    assert pinned(one, "cpu") is one


def test_tuples_and_lists_are_mapped_and_other_values_stay():
    mapped = map_tensors((torch.ones(1), [torch.ones(2), "name", None], {"kept": 1}), len)
    assert mapped == (1, [2, "name", None], {"kept": 1})


class FakeStream:
    """A stream of events, in the place of one of a GPU."""

    def __init__(self, log, name):
        self.log, self.name, self.copies = log, name, 0

    def record_event(self):
        self.copies += 1
        self.log.append(f"copy {self.copies - 1} recorded")
        return self.copies - 1

    def wait_event(self, event):
        self.log.append(f"{self.name} waits for copy {event}")


def test_the_computation_waits_for_its_own_batch_alone_and_keeps_its_memory(monkeypatch):
    log = []
    side, compute, active = FakeStream(log, "copies"), FakeStream(log, "computation"), []

    @contextmanager
    def use(stream):
        active.append(stream)
        yield
        active.pop()

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: side)
    monkeypatch.setattr(torch.cuda, "stream", use)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: compute)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: log.append(f"memory kept for {stream.name}"))
    real = torch.Tensor.to

    def to(tensor, *arguments, **options):
        log.append(f"to {arguments[0]} on {active[-1].name} {options}")
        return real(tensor, *arguments, **options)

    monkeypatch.setattr(torch.Tensor, "to", to)
    for number, _ in enumerate(on_device([[torch.zeros(1)], [torch.ones(1)]], StreamCopies(torch.device("cpu")))):
        log.append(f"use {number}")
    copied = "to cpu on copies {'non_blocking': True}"
    started = [copied, "copy 0 recorded", copied, "copy 1 recorded"]
    used = [[f"computation waits for copy {number}", "memory kept for computation", f"use {number}"] for number in (0, 1)]
    assert log == [*started, *used[0], *used[1]]


def test_copies_that_are_complete_have_nothing_to_wait_for():
    copies = PlainCopies(torch.device("cpu"))
    copied, token = copies.start((torch.ones(2), 3))
    copies.wait(copied, token)
    assert token is None and copied[1] == 3 and torch.equal(copied[0], torch.ones(2))
