"""Reports of a training: their way from the ranks to the driver, and their lines."""

import threading

import pytest

from abaw_ray.cluster.stages.stage_one.training_reports import report_lines
from abaw_ray.cluster.training.reports import ReportWriter, count_checkpoints, forward_reports

STEPS = {"step": 1050, "total_steps": 12000, "loss": 1.23456, "learning_rate": 1.83e-5, "images_per_second": 412.3, "seconds_left": 5025.0}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "step 1,050 of 12,000, loss 1.235, learning rate 1.8e-05, 412 images/s, 1:23:45 left"),
        ({"images_per_second": 2.345, "seconds_left": 65.0}, "step 1,050 of 12,000, loss 1.235, learning rate 1.8e-05, 2.3 images/s, 1:05 left"),
        ({"step": 12000, "seconds_left": 0.0}, "step 12,000 of 12,000, loss 1.235, learning rate 1.8e-05, 412 images/s"),
        ({"images_per_second": 12345.6}, "step 1,050 of 12,000, loss 1.235, learning rate 1.8e-05, 12,346 images/s, 1:23:45 left"),
    ],
)
def test_the_line_of_some_steps_has_loss_learning_rate_rate_and_the_time_that_is_left(changes, line):
    assert report_lines(STEPS | changes) == [line]


def test_a_checkpoint_within_an_epoch_has_a_line_of_its_own():
    saved = {"step": 1050, "total_steps": 12000}
    assert report_lines(saved | {"preempted_nodes": 0}) == ["a checkpoint was written after step 1,050 of 12,000"]
    assert report_lines(saved | {"preempted_nodes": 2})[0].startswith("2 machines are being preempted; a checkpoint was written after step 1,050")


def test_every_report_arrives_once_and_only_those_with_a_checkpoint_are_counted_as_one(tmp_path):
    path, received, third = tmp_path / "reports.jsonl", [], threading.Event()

    def receive(report):
        received.append(report)
        if len(received) == 3:
            third.set()

    writer = ReportWriter(path)
    assert count_checkpoints(path) == 0
    with forward_reports(path, receive):
        for step in range(3):
            writer.after_report(None, [{"step": step}, {"step": step}], "a checkpoint" if step == 1 else None)
        assert third.wait(10)
        with path.open("a") as file:
            file.write('{"report": {"step": 3}, "has_')  # a line whose other part is not written yet
    assert received == [{"step": 0}, {"step": 1}, {"step": 2}]
    assert count_checkpoints(path) == 1
