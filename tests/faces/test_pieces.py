"""A long video in pieces: its rows are those of the same video watched in one go, whoever watched which part."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from abaw_ray.core.errors import ConfigError, ItemError
from abaw_ray.faces.chunk_files import Piece
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.detection.detect import DetectorConfig
from abaw_ray.faces.stitch import SeamError, stitch
from abaw_ray.faces.tracking.segments import Span, Stretch, StretchConfig, spans_of, stretches_of
from abaw_ray.media.write import write_video

CONFIG = FacesConfig(detector=DetectorConfig(kind="haar", width=192), stretches=StretchConfig(seconds=2.0, overlap=0.5))
HALVES = [Span(None, 1), Span(1, 2), Span(2, 4), Span(4, None)]


@pytest.fixture
def written(tmp_path):
    """Write pictures as a video with a key frame every so often; returns its VIDEO row."""

    def write(pictures, times=None, name="v.mp4"):
        pictures = list(pictures)
        times = np.arange(len(pictures)) / 25 if times is None else np.asarray(times)
        write_video(tmp_path / name, pictures, times, None, crf=12, preset="ultrafast")
        return {"video": "v", "uri": str(tmp_path / name), "subjects": []}

    return write


@pytest.fixture
def both(tmp_path, detector):
    """The rows of a video watched in one go, and in pieces that are cut in any order."""

    def run(video, spans=HALVES, config=CONFIG):
        crop = CropFaces(config, detector)
        whole = rows_of(crop(video))
        folders = []
        for number in reversed(range(len(spans))):
            folder = tmp_path / f"piece-{number}"
            folder.mkdir()
            crop.cut(video, spans[number], folder)
            folders.insert(0, folder)
        return whole, rows_of(crop.join(video, folders))

    return run


def rows_of(tables):
    """All rows, and the error that came after them."""
    found, error = [], None
    try:
        for table in tables:
            found += table.to_pylist()
    except ItemError as caught:
        error = (str(caught), caught.last_frame)
    return found, error


def test_pieces_put_together_are_the_video_watched_in_one_go_row_for_row(written, both, draw):
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.uniform(1 / 50, 1 / 12, 260))  # about ten seconds at a variable rate

    def picture(k):
        here = [(40 + 0.3 * k, 60 + 8 * np.sin(k / 9), 30)]
        if 60 <= k < 200:
            here.append((150 - 0.2 * k, 110, 24))
        if k in (70, 71, 72, 120):
            here = here[1:]  # a short gap
        return draw(*here, room=(60, 70, 80) if k < 150 else (190, 180, 120))

    (whole, error), (pieces, same) = both(written([picture(k) for k in range(260)], times))
    assert whole == pieces and error is same is None
    assert {row["track"] for row in whole} >= {"main", "person-2"}
    main = [row for row in whole if row["track"] == "main"]
    assert [row["frame"] for row in main] == list(range(1, 261))


def test_a_person_keeps_her_name_where_stretches_meet(both, written, draw):
    whole, _ = both(written([draw((40 + 0.2 * k, 70, 30), (150, 40, 20)) for k in range(250)]))
    tracks = {row["track"] for row in whole[0]}
    assert tracks == {"main", "person-2"}, "ten seconds are five stretches, and still two people"
    assert all(row["seen"] for row in whole[0])


def test_a_gap_over_the_seam_is_bridged_from_both_sides(both, written, draw):
    gone = range(47, 53)  # about 2 s
    whole, pieces = both(written([draw(*([] if k in gone else [(60 + 0.3 * k, 70, 30)])) for k in range(150)]))
    assert whole == pieces
    assert all(whole[0][k]["source"] == "interpolated" for k in gone)


def test_a_video_that_breaks_in_the_middle_breaks_at_the_same_frame_in_pieces(both, written, draw, tmp_path):
    import av

    video = written([draw((60 + 0.3 * k, 70, 30)) for k in range(300)], name="v.mkv")
    with av.open(video["uri"]) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    path = tmp_path / "v.mkv"
    path.write_bytes(path.read_bytes().replace(packets[170], b"\xff" * len(packets[170])))
    (whole, error), (pieces, same) = both(video)
    assert error is not None and error == same and error[1] == len(whole) > 100
    assert whole == pieces


def test_pieces_behind_the_end_and_a_header_that_lies_do_no_harm(both, written, draw):
    whole, pieces = both(written([draw((60, 70, 30))] * 60), spans=[*HALVES[:3], Span(4, 9), Span(9, None)])
    assert whole == pieces and len(whole[0]) == 60


def test_a_video_without_times_of_its_own_is_not_put_together_from_pieces(tmp_path, detector, draw):
    path = tmp_path / "v.mp4"
    write_video(path, [draw((60, 70, 30))] * 100, np.arange(100) / 25, None, preset="ultrafast")
    crop, folders = CropFaces(CONFIG, detector), []
    for number, span in enumerate([Span(None, 1), Span(1, None)]):
        folders.append(tmp_path / str(number))
        folders[-1].mkdir()
        piece = crop.cut({"video": "v", "uri": str(path), "subjects": []}, span, folders[-1])
        piece.mended = True
        piece.write(folders[-1])
    with pytest.raises(SeamError):
        next(crop.join({"video": "v", "uri": str(path), "subjects": []}, folders))


def test_pieces_that_saw_different_pictures_at_their_seam_are_refused():
    a = Piece(times=[0.0, 0.5], closing=[[0.5, 7]])
    assert len(stitch([a, Piece(first=3, times=[1.0], opening=[[0.5, 7]])]).times) == 3
    with pytest.raises(SeamError, match="differ"):
        stitch([a, Piece(first=3, times=[1.0], opening=[[0.5, 8]])])


def test_a_piece_comes_back_from_its_file_as_it_was(written, detector, draw, tmp_path):
    (tmp_path / "p").mkdir()
    piece = CropFaces(CONFIG, detector).cut(written([draw((60 + 0.37 * k, 70, 31)) for k in range(80)]), Span(0, 1), tmp_path / "p")
    again = Piece.read(tmp_path / "p")
    assert again.times == piece.times and again.batches == piece.batches and again.closing == piece.closing
    for one, other in zip(piece.tracklets, again.tracklets, strict=True):
        assert (one.id, one.area, one.x, one.tail) == (other.id, other.area, other.x, other.tail)
        np.testing.assert_array_equal(one.colours, other.colours)


@pytest.mark.parametrize("time", [-3.1, -0.5, 0.0, 0.49999, 0.5, 1.2, 1.5, 2.0, 7.49, 7.5, 8.0])
def test_every_moment_is_owned_by_one_stretch_and_watched_by_its_neighbour_near_a_seam(time):
    config = StretchConfig(seconds=2.0, overlap=0.5)
    here = stretches_of(time, Span(), config)
    slow = [Stretch(n, config) for n in range(-5, 9) if n * 2.0 - 0.5 <= time <= (n + 1) * 2.0 + 0.5]
    assert here == slow
    assert sum(stretch.owns(time) for stretch in here) == 1


@pytest.mark.parametrize(("begin", "seconds", "piece"), [(0, 0, 4), (0, 3.9, 4), (0, 100, 4), (0, 101, 7), (-5, 50, 2), (1000, 33, 4), (0, 12, 1000)])
def test_spans_are_the_whole_video_without_a_hole(begin, seconds, piece):
    spans = spans_of(begin, seconds, piece, StretchConfig(seconds=2.0, overlap=0.5))
    assert spans[0].first is None and spans[-1].stop is None
    assert all(a.stop == b.first for a, b in itertools.pairwise(spans))
    assert all(span.stop - span.first >= piece / 2 for span in spans[1:-1])
    if seconds >= 100 and piece == 4:
        assert len(spans) >= 20


def test_stretches_shorter_than_a_gap_are_refused():
    with pytest.raises(ConfigError, match="at least four times"):
        StretchConfig(seconds=3, overlap=1)
    with pytest.raises(ConfigError, match="max_gap"):
        FacesConfig(stretches=StretchConfig(seconds=10, overlap=0.2))


def test_boxes_alone_are_kept_where_no_chips_are_wanted(written, detector, draw):
    from dataclasses import replace

    video = written([draw((60, 70, 30))] * 30)
    bare = replace(CONFIG, chips=replace(CONFIG.chips, keep="none"))
    with_chips, without = (pa.concat_tables(CropFaces(config, detector)(video)) for config in (CONFIG, bare))
    assert without["chip"].null_count == 30 and without.drop(["chip", "chip_scale", "inside"]) == with_chips.drop(["chip", "chip_scale", "inside"])
