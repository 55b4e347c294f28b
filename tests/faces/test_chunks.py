"""A long video in chunks: its rows are those of the same video processed in one pass."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from abaw_ray.core.errors import ConfigError, ItemError
from abaw_ray.faces.chunk_result import ChunkResult
from abaw_ray.faces.config import DetectorConfig, FacesConfig, SegmentConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.identity.config import VoteConfig
from abaw_ray.faces.identity.embedder import SFace
from abaw_ray.faces.identity.votes import Vote
from abaw_ray.faces.stitch import ChunkMismatchError, stitch
from abaw_ray.faces.tracking.segments import Chunk, Segment, segments_at, split_into_chunks
from abaw_ray.faces.tracking.summary import TrackletSummary
from abaw_ray.media.write import write_video

CONFIG = FacesConfig(detector=DetectorConfig(kind="haar", width=192), segments=SegmentConfig(length_s=2.0, overlap_s=0.5))
CHUNKS = [Chunk(None, 1), Chunk(1, 2), Chunk(2, 4), Chunk(4, None)]


@pytest.fixture
def make_video(tmp_path):
    """A function that writes images as a video with several key frames; returns its VIDEO row."""

    def write(images, times=None, name="v.mp4"):
        images = list(images)
        times = np.arange(len(images)) / 25 if times is None else np.asarray(times)
        write_video(tmp_path / name, images, times, None, crf=12, preset="ultrafast")
        return {"video": "v", "uri": str(tmp_path / name), "subjects": []}

    return write


@pytest.fixture
def process_both_ways(tmp_path, detector):
    """A function that processes a video in one pass, and in chunks in reverse order; returns rows and error of both."""

    def run(video, chunks=CHUNKS, config=CONFIG):
        crop = CropFaces(config, detector)
        whole = rows_of(crop(video))
        folders = []
        for number in reversed(range(len(chunks))):
            folder = tmp_path / f"chunk-{number}"
            folder.mkdir()
            crop.crop_chunk(video, chunks[number], folder)
            folders.insert(0, folder)
        return whole, rows_of(crop.join_chunks(video, folders))

    return run


def rows_of(tables):
    """All rows, and the error raised after them."""
    rows, error = [], None
    try:
        for table in tables:
            rows += table.to_pylist()
    except ItemError as caught:
        error = (str(caught), caught.last_frame)
    return rows, error


def test_joined_chunks_equal_one_pass_row_for_row(make_video, process_both_ways, render):
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.uniform(1 / 50, 1 / 12, 260))  # about ten seconds at a variable rate

    def image(k):
        squares = [(40 + 0.3 * k, 60 + 8 * np.sin(k / 9), 30)]
        if 60 <= k < 200:
            squares.append((150 - 0.2 * k, 110, 24))
        if k in (70, 71, 72, 120):
            squares = squares[1:]  # a short gap
        return render(*squares, room=(60, 70, 80) if k < 150 else (190, 180, 120))

    (whole, error), (joined, same) = process_both_ways(make_video([image(k) for k in range(260)], times))
    assert whole == joined and error is same is None
    assert {row["track"] for row in whole} >= {"main", "person-2"}
    main = [row for row in whole if row["track"] == "main"]
    assert [row["frame"] for row in main] == list(range(1, 261))


def test_a_person_keeps_one_track_across_segments(process_both_ways, make_video, render):
    whole, _ = process_both_ways(make_video([render((40 + 0.2 * k, 70, 30), (150, 40, 20)) for k in range(250)]))
    tracks = {row["track"] for row in whole[0]}
    assert tracks == {"main", "person-2"}, "ten seconds are five segments, but still two people"
    assert all(row["seen"] for row in whole[0])


def test_a_gap_across_a_segment_boundary_is_interpolated(process_both_ways, make_video, render):
    absent = range(47, 53)  # about 2 s
    whole, joined = process_both_ways(make_video([render(*([] if k in absent else [(60 + 0.3 * k, 70, 30)])) for k in range(150)]))
    assert whole == joined
    assert all(whole[0][k]["source"] == "interpolated" for k in absent)


def test_a_damaged_video_fails_at_the_same_frame_in_chunks(process_both_ways, make_video, render, tmp_path):
    import av

    video = make_video([render((60 + 0.3 * k, 70, 30)) for k in range(300)], name="v.mkv")
    with av.open(video["uri"]) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    path = tmp_path / "v.mkv"
    path.write_bytes(path.read_bytes().replace(packets[170], b"\xff" * len(packets[170])))
    (whole, error), (joined, same) = process_both_ways(video)
    assert error is not None and error == same and error[1] == len(whole) > 100
    assert whole == joined


def test_chunks_beyond_the_end_of_the_video_change_nothing(process_both_ways, make_video, render):
    whole, joined = process_both_ways(make_video([render((60, 70, 30))] * 60), chunks=[*CHUNKS[:3], Chunk(4, 9), Chunk(9, None)])
    assert whole == joined and len(whole[0]) == 60


def test_a_video_with_repaired_times_is_not_joined_from_chunks(tmp_path, detector, render):
    path = tmp_path / "v.mp4"
    write_video(path, [render((60, 70, 30))] * 100, np.arange(100) / 25, None, preset="ultrafast")
    crop, folders = CropFaces(CONFIG, detector), []
    for number, chunk in enumerate([Chunk(None, 1), Chunk(1, None)]):
        folders.append(tmp_path / str(number))
        folders[-1].mkdir()
        result = crop.crop_chunk({"video": "v", "uri": str(path), "subjects": []}, chunk, folders[-1])
        result.repaired_times = True
        result.write(folders[-1])
    with pytest.raises(ChunkMismatchError):
        next(crop.join_chunks({"video": "v", "uri": str(path), "subjects": []}, folders))


def test_chunks_with_different_frames_at_their_boundary_are_refused():
    a = ChunkResult(times=[0.0, 0.5], end_checksums=[[0.5, 7]])
    assert len(stitch([a, ChunkResult(first_frame=3, times=[1.0], start_checksums=[[0.5, 7]])], VoteConfig()).times) == 3
    with pytest.raises(ChunkMismatchError, match="differ"):
        stitch([a, ChunkResult(first_frame=3, times=[1.0], start_checksums=[[0.5, 8]])], VoteConfig())


def test_a_chunk_result_is_read_back_exactly(make_video, detector, render, tmp_path):
    (tmp_path / "p").mkdir()
    result = CropFaces(CONFIG, detector).crop_chunk(make_video([render((60 + 0.37 * k, 70, 31)) for k in range(80)]), Chunk(0, 1), tmp_path / "p")
    again = ChunkResult.read(tmp_path / "p")
    assert again.times == result.times and again.batches == result.batches and again.end_checksums == result.end_checksums
    for one, other in zip(result.tracklets, again.tracklets, strict=True):
        assert (one.id, one.area_sum, one.x_sum, one.end_boxes) == (other.id, other.area_sum, other.x_sum, other.end_boxes)


def test_the_votes_of_a_chunk_result_are_read_back_exactly(tmp_path):
    votes = [Vote(0.1, 0.3, np.random.default_rng(k).normal(size=128).astype(np.float32)) for k in range(3)]
    ChunkResult(tracklets=[TrackletSummary(1, votes=votes), TrackletSummary(2)]).write(tmp_path)
    first, second = ChunkResult.read(tmp_path).tracklets
    assert [(vote.time, vote.quality) for vote in first.votes] == [(0.1, 0.3)] * 3 and second.votes == []
    for vote, again in zip(votes, first.votes, strict=True):
        np.testing.assert_array_equal(vote.embedding, again.embedding)


def test_segments_whose_votes_show_two_people_are_not_joined_at_their_boundary():
    def summary(number, person):
        embedding, boxes = np.eye(2, dtype=np.float32)[person], [[2.0, 10.0, 10.0, 30.0, 30.0]]
        return TrackletSummary(number, number + 1, number + 9, 9, votes=[Vote(float(number), 1.0, embedding)], start_boxes=boxes, end_boxes=boxes)

    def joined(*people):
        tracklets = [summary(number, person) for number, person in zip((1, 1_000_001), people, strict=True)]
        found = stitch([ChunkResult(times=[0.0], tracklets=tracklets)], VoteConfig(max_votes=1, min_votes=1), SFace.thresholds).tracklets
        assert all(len(tracklet.summary.votes) == 1 for tracklet in found)
        return len(found)

    assert joined(0, 0) == 1 and joined(0, 1) == 2


@pytest.mark.parametrize("time", [-3.1, -0.5, 0.0, 0.49999, 0.5, 1.2, 1.5, 2.0, 7.49, 7.5, 8.0])
def test_every_time_is_owned_by_one_segment_and_also_in_its_neighbor_near_a_boundary(time):
    config = SegmentConfig(length_s=2.0, overlap_s=0.5)
    segments = segments_at(time, Chunk(), config)
    slow = [Segment(n, config) for n in range(-5, 9) if n * 2.0 - 0.5 <= time <= (n + 1) * 2.0 + 0.5]
    assert segments == slow
    assert sum(segment.owns(time) for segment in segments) == 1


@pytest.mark.parametrize(
    ("start", "duration", "chunk_s"), [(0, 0, 4), (0, 3.9, 4), (0, 100, 4), (0, 101, 7), (-5, 50, 2), (1000, 33, 4), (0, 12, 1000)]
)
def test_chunks_cover_the_whole_video_without_a_gap(start, duration, chunk_s):
    chunks = split_into_chunks(start, duration, chunk_s, SegmentConfig(length_s=2.0, overlap_s=0.5))
    assert chunks[0].first is None and chunks[-1].stop is None
    assert all(a.stop == b.first for a, b in itertools.pairwise(chunks))
    assert all(chunk.stop - chunk.first >= chunk_s / 2 for chunk in chunks[1:-1])
    if duration >= 100 and chunk_s == 4:
        assert len(chunks) >= 20


def test_segments_shorter_than_a_gap_are_refused():
    with pytest.raises(ConfigError, match="at least four times"):
        SegmentConfig(length_s=3, overlap_s=1)
    with pytest.raises(ConfigError, match="max_gap"):
        FacesConfig(segments=SegmentConfig(length_s=10, overlap_s=0.2))


def test_without_chips_the_boxes_are_the_same(make_video, detector, render):
    from dataclasses import replace

    video = make_video([render((60, 70, 30))] * 30)
    no_chips = replace(CONFIG, chips=replace(CONFIG.chips, keep="none"))
    with_chips, without = (pa.concat_tables(CropFaces(config, detector)(video)) for config in (CONFIG, no_chips))
    assert without["chip"].null_count == 30 and without.drop(["chip", "chip_scale", "inside"]) == with_chips.drop(["chip", "chip_scale", "inside"])
