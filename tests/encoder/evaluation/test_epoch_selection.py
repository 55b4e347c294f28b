from dataclasses import replace

import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.encoder.evaluation.selection import best_epoch, select_epoch


def curve(*scores):
    return [{"mean_macro_f1": score} for score in scores]


def test_the_best_epoch_is_the_first_with_the_highest_score():
    assert best_epoch(curve(0.2, 0.5, 0.4, 0.5)) == 2
    assert best_epoch([]) == 0


def test_the_setting_decides_between_the_best_and_the_last_epoch():
    best, last = (select_epoch(curve(0.2, 0.5, 0.4), select) for select in ("best", "last"))
    assert (best.epoch, best.other_epoch) == (2, 3)
    assert (last.epoch, last.other_epoch) == (3, 2)
    assert best.figures() == {"select": "best", "best_epoch": 2, "last_epoch": 3, "epoch": 2}


def test_where_the_last_epoch_is_the_best_there_is_no_other():
    selection = select_epoch(curve(0.2, 0.5), "best")
    assert selection.epoch == selection.other_epoch == 2


def test_a_negative_number_of_images_of_the_probe_is_refused(config):
    with pytest.raises(ConfigError, match="probe_images_per_class=-1"):
        replace(config, probe_images_per_class=-1)
