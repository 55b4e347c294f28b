"""What the driver says about blocks that are not compiled."""

from abaw_ray.cluster.stages.stage_one.encoder import _show

REASON = "blocks are not compiled: no C compiler was found (cc, gcc, clang)"


def test_a_training_whose_blocks_cannot_be_compiled_says_so_once(capsys):
    figures = {"epochs": 2, "loss": 1.0, "images_per_second": 10.0, "data_sets": {}}
    for epoch in (1, 2):
        _show("cv-1", figures | {"epoch": epoch, "not_compiled": REASON})
    assert capsys.readouterr().out.count(f"  cv-1: {REASON}\n") == 1
    _show("cv-1", figures | {"epoch": 1})
    assert "compiled" not in capsys.readouterr().out
