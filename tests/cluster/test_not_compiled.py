"""What the driver says about blocks that are not compiled."""

from abaw_ray.cluster.stages.stage_one.training_reports import report_lines

REASON = "blocks are not compiled: no C compiler was found (cc, gcc, clang)"


def test_a_training_whose_blocks_cannot_be_compiled_says_so_once():
    figures = {"epochs": 2, "loss": 1.0, "images_per_second": 10.0, "data_sets": {}}
    lines = [line for epoch in (1, 2) for line in report_lines(figures | {"epoch": epoch, "not_compiled": REASON})]
    assert lines.count(REASON) == 1
    assert len(lines) == 3
    assert len(report_lines(figures | {"epoch": 1})) == 1
