"""Machines that lose tasks while others finish theirs are excluded from the next round."""

from abaw_ray.cluster.engine.workers.rounds import Losses


def outcomes(*rows):
    """The losses of a round in which machines lost or finished tasks, in this order: ``(machine, lost)``."""
    losses = Losses(workers=2)
    for task, (machine, lost) in enumerate(rows):
        losses.add({"task": task, "name": f"v{task}", "machine": machine, "worker": machine, "lost": "disk full" * lost})
    return losses


def test_a_machine_that_loses_tasks_while_others_finish_theirs_is_excluded():
    assert outcomes(("a", False), ("b", False), ("b", True), ("a", False)).failing_machines == {"b"}


def test_a_machine_that_finishes_a_task_after_a_lost_one_is_not_excluded():
    assert outcomes(("b", True), ("a", False), ("b", False)).failing_machines == frozenset()


def test_where_every_machine_loses_tasks_none_is_excluded():
    assert outcomes(("a", False), ("a", True), ("b", True)).failing_machines == frozenset()
