from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abaw_ray.core.errors import DataError
from abaw_ray.faces.chips import decode_jpeg
from abaw_ray.report.tracks.track import STATES, Track, bin_centers, evenly_spaced, find_gaps, frame_ends, frame_times, read_chips, read_tracks


def track_of(states, times, first=1):
    state = np.array([" .DFIG".index(letter) - 1 for letter in states])
    box = np.where(state[:, None] > 0, [[10.0, 10, 30, 40]], np.nan)
    frame = np.arange(first, first + len(state))
    return Track(video="v", name="main", frame=frame, time=np.asarray(times)[frame - 1], state=state, box=box, score=np.full(len(state), np.nan))


def test_rows_are_read_by_track_and_nulls_become_nan(rows_file, times):
    tracks = read_tracks(rows_file)
    main, other = tracks["main"], tracks["person-2"]
    assert list(tracks) == ["main", "person-2"] and len(main.frame) == 40
    assert main.counts() == {"not seen": 5, "detected": 4, "followed": 7, "interpolated": 24}
    np.testing.assert_array_equal(np.isnan(main.box).all(axis=1), ~main.seen)
    np.testing.assert_array_equal(np.isnan(main.score), [STATES[state] not in ("detected", "followed") for state in main.state])
    assert other.frame.tolist() == list(range(12, 18)) and other.box[0].tolist() == [100, 20, 130, 60]
    assert (main.at(12), other.at(12), other.at(11), other.at(18)) == (11, 0, None, None)
    frames, frame_seconds = frame_times([other, main])
    assert frames.tolist() == list(range(1, 41))
    np.testing.assert_allclose(frame_seconds, times)


def test_only_the_requested_chips_are_read(rows_file):
    chips = read_chips(rows_file, "main", [3, 9, 40])
    assert sorted(chips) == [3, 40], "frame 9 has no face"
    assert [round(float(decode_jpeg(chips[frame]).mean())) for frame in (3, 40)] == [3, 40]


@pytest.mark.parametrize("seed", range(5))
def test_gaps_agree_with_their_definition(seed):
    rng = np.random.default_rng(seed)
    states = "".join(rng.choice(list("..DI"), 60))
    times = np.cumsum(rng.uniform(0.01, 0.1, 70))
    track = track_of(states, times, first=5)
    gaps = find_gaps(track)
    inside = [False] * 60
    for gap in gaps:
        rows = range(gap.first - 5, gap.last - 4)
        assert all(states[row] == "." for row in rows)
        assert gap.start == times[gap.first - 1]
        if gap.last < 64:
            assert gap.stop == times[gap.last]
        for row in rows:
            inside[row] = True
    assert inside == [letter == "." for letter in states]
    assert all(a.last + 1 < b.first for a, b in pairwise(gaps)), "consecutive frames are one gap"


def test_the_last_frame_has_the_median_duration():
    np.testing.assert_allclose(frame_ends(np.array([0.0, 0.1, 0.2, 0.7])), [0.1, 0.2, 0.7, 0.8])
    np.testing.assert_allclose(frame_ends(np.array([3.0])), [3.04])


@pytest.mark.parametrize(("count", "most"), [(1, 5), (5, 5), (7, 3), (1000, 48), (3, 48)])
def test_chosen_indices_are_evenly_spaced_and_as_many_as_allowed(count, most):
    chosen, inner = evenly_spaced(count, most), bin_centers(count, most)
    assert len(chosen) == len(inner) == min(count, most)
    assert chosen[0] == 0 and (len(chosen) == 1 or chosen[-1] == count - 1)
    for places in (chosen, inner):
        assert places.min() >= 0 and places.max() < count
        assert len(places) == 1 or np.ptp(np.diff(places)) <= 1


def test_files_that_are_not_the_rows_of_one_video_are_refused(tmp_path, rows_file):
    (tmp_path / "text.parquet").write_text("no table")
    pq.write_table(pa.table({"video": ["v"]}), tmp_path / "other.parquet")
    table = pq.read_table(rows_file)
    second = table.set_column(0, table.schema.field("video"), pa.array(["w"] * len(table)))
    pq.write_table(pa.concat_tables([table, second]), tmp_path / "two.parquet")
    for name, message in {"gone": "no such file", "text": "not a Parquet file", "other": "no column track", "two": "rows of 2 videos"}.items():
        with pytest.raises(DataError, match=message):
            read_tracks(tmp_path / f"{name}.parquet")
