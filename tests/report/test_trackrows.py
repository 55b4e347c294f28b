from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abaw_ray.core.errors import DataError
from abaw_ray.faces.chips import decode_jpeg
from abaw_ray.report.tracks.rows import STATES, Track, ends, gaps_of, middles, read_chips, read_tracks, spread, video_clock


def track_of(states, times, first=1):
    state = np.array([" .DFIG".index(letter) - 1 for letter in states])
    box = np.where(state[:, None] > 0, [[10.0, 10, 30, 40]], np.nan)
    frame = np.arange(first, first + len(state))
    return Track(video="v", name="main", frame=frame, time=np.asarray(times)[frame - 1], state=state, box=box, score=np.full(len(state), np.nan))


def test_a_part_is_read_track_by_track_and_its_nulls_stay_apart_from_numbers(part, times):
    tracks = read_tracks(part)
    main, other = tracks["main"], tracks["person-2"]
    assert list(tracks) == ["main", "person-2"] and len(main.frame) == 40
    assert main.counts() == {"not seen": 5, "detected": 4, "followed": 7, "interpolated": 24}
    np.testing.assert_array_equal(np.isnan(main.box).all(axis=1), ~main.seen)
    np.testing.assert_array_equal(np.isnan(main.score), [STATES[state] not in ("detected", "followed") for state in main.state])
    assert other.frame.tolist() == list(range(12, 18)) and other.box[0].tolist() == [100, 20, 130, 60]
    assert (main.at(12), other.at(12), other.at(11), other.at(18)) == (11, 0, None, None)
    frames, clock = video_clock([other, main])
    assert frames.tolist() == list(range(1, 41))
    np.testing.assert_allclose(clock, times)


def test_only_the_chips_that_are_asked_for_are_read(part):
    chips = read_chips(part, "main", [3, 9, 40])
    assert sorted(chips) == [3, 40], "frame 9 has no face"
    assert [round(float(decode_jpeg(chips[frame]).mean())) for frame in (3, 40)] == [3, 40]


@pytest.mark.parametrize("seed", range(5))
def test_gaps_agree_with_their_definition(seed):
    rng = np.random.default_rng(seed)
    states = "".join(rng.choice(list("..DI"), 60))
    times = np.cumsum(rng.uniform(0.01, 0.1, 70))
    track = track_of(states, times, first=5)
    found = gaps_of(track)
    inside = [False] * 60
    for gap in found:
        rows = range(gap.first - 5, gap.last - 4)
        assert all(states[row] == "." for row in rows)
        assert gap.start == times[gap.first - 1]
        if gap.last < 64:
            assert gap.stop == times[gap.last]
        for row in rows:
            inside[row] = True
    assert inside == [letter == "." for letter in states]
    assert all(a.last + 1 < b.first for a, b in pairwise(found)), "neighbouring frames are one gap"


def test_a_last_frame_lasts_as_long_as_frames_usually_do():
    np.testing.assert_allclose(ends(np.array([0.0, 0.1, 0.2, 0.7])), [0.1, 0.2, 0.7, 0.8])
    np.testing.assert_allclose(ends(np.array([3.0])), [3.04])


@pytest.mark.parametrize(("count", "most"), [(1, 5), (5, 5), (7, 3), (1000, 48), (3, 48)])
def test_chosen_places_are_even_and_their_number_is_the_most_there_can_be(count, most):
    chosen, inner = spread(count, most), middles(count, most)
    assert len(chosen) == len(inner) == min(count, most)
    assert chosen[0] == 0 and (len(chosen) == 1 or chosen[-1] == count - 1)
    for places in (chosen, inner):
        assert places.min() >= 0 and places.max() < count
        assert len(places) == 1 or np.ptp(np.diff(places)) <= 1


def test_what_is_no_part_of_one_video_is_refused(tmp_path, part):
    (tmp_path / "text.parquet").write_text("no table")
    pq.write_table(pa.table({"video": ["v"]}), tmp_path / "other.parquet")
    table = pq.read_table(part)
    second = table.set_column(0, table.schema.field("video"), pa.array(["w"] * len(table)))
    pq.write_table(pa.concat_tables([table, second]), tmp_path / "two.parquet")
    for name, said in {"gone": "no such file", "text": "not a Parquet file", "other": "no column track", "two": "rows of 2 videos"}.items():
        with pytest.raises(DataError, match=said):
            read_tracks(tmp_path / f"{name}.parquet")
