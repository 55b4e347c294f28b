import numpy as np
import pytest
from overlay_rows import analysis_rows, analysis_table, label_of

from abaw_ray.core.errors import DataError, StageError
from abaw_ray.report.overlay.people import read_people


def test_rows_are_found_by_person_and_frame_whatever_their_order():
    rows = analysis_rows("person-2", [0.2, 0.3], first=3) + analysis_rows("main", np.arange(6) / 10)[::-1]
    main, other = read_people(analysis_table(rows))
    assert (main.name, other.name) == ("main", "person-2"), "the main person first"
    assert main.frame.tolist() == [1, 2, 3, 4, 5, 6] and main.time.tolist() == pytest.approx(np.arange(6) / 10)
    assert [main.at(frame) for frame in (0, 1, 6, 7)] == [None, 0, 5, 5] and [other.at(frame) for frame in (2, 3, 4, 5)] == [None, 0, 1, None]
    assert main.label.tolist() == [label_of(frame) for frame in range(1, 7)]
    assert main.confidence == pytest.approx(0.65) and main.probability.sum(axis=1) == pytest.approx(1)


def test_missing_values_are_nan():
    rows = analysis_rows("main", [0.0], seen=False, scored=False) + analysis_rows("main", [0.1], first=2, without=("Other",))
    (main,) = read_people(analysis_table(rows))
    assert main.label.tolist() == [-1, 2] and np.isnan(main.box[0]).all() and np.isnan(main.probability[0]).all() and np.isnan(main.confidence[0])
    assert np.isnan(main.probability[1]).tolist() == [False] * 7 + [True] and main.box[1].tolist() == [20, 30, 60, 80]


def test_other_tables_are_refused():
    table = analysis_table(analysis_rows("main", [0.0]))
    with pytest.raises(StageError, match="gate"):
        read_people(table.drop_columns("gate"))
    with pytest.raises(DataError, match="0 videos"):
        read_people(table.slice(0, 0))
