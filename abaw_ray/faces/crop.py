"""A video -> FACE rows: one decoding pass, in which faces are tracked by segment and one chip per face and frame is cropped.

``media/video`` gives frames, ``segment_tracker`` the rows of a segment, ``row_buffer`` keeps them on disk until the video ends, ``stitch``
joins the segments, ``people`` names the people, ``face_table`` makes the tables. ``cluster/stages/faces.py`` runs this for many videos.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from abaw_ray.core.errors import ItemError
from abaw_ray.faces.chunk_result import ROWS_FILE, ChunkResult
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.detection.box_table import BoxTable, GivenBoxes
from abaw_ray.faces.detection.detect import Detector, make_detector
from abaw_ray.faces.detection.frame_detector import FrameDetector
from abaw_ray.faces.detection.still_detector import StillDetector
from abaw_ray.faces.face_table import fill_frames, to_face_table
from abaw_ray.faces.identity.embedder import FaceEmbedder, make_embedder
from abaw_ray.faces.stitch import StitchedTracklet, stitch
from abaw_ray.faces.tracking.chunk_reader import ChunkReader
from abaw_ray.faces.tracking.people import count_mixed, name_people, name_subjects, name_tracks
from abaw_ray.faces.tracking.row_buffer import RowBuffer, RowReader
from abaw_ray.faces.tracking.segments import WHOLE_VIDEO, Chunk
from abaw_ray.faces.tracking.summary import TrackletSummary
from abaw_ray.faces.tracking.time_range import ALL_TIMES, RangeFrames, TimeRange
from abaw_ray.media.clock import Clock
from abaw_ray.media.video import SeekError, decode

REVISION = 6
"""Raised by hand whenever the same video and settings give other rows: results of other revisions are computed again."""


class CropFaces:
    """``VIDEO`` row -> ``FACE`` tables. Built once per worker; does not depend on Ray."""

    def __init__(
        self,
        config: FacesConfig,
        detector: Detector | None = None,
        weights: bytes | None = None,
        embedder: FaceEmbedder | None = None,
        embedder_weights: bytes | None = None,
    ) -> None:
        """Build the detector and the embedder.

        Args:
            config: Settings that determine the rows.
            detector: A detector to use in place of the configured one.
            weights: YuNet's weights, where they have been read already.
            embedder: An embedder to use in place of the configured one.
            embedder_weights: SFace's weights, where they have been read already.

        Raises:
            ConfigError: weights cannot be read, or the table of boxes lacks a column.
            DataError: the table of boxes is missing, or is neither CSV nor Parquet.
            StorageError: the store of the weights or of the table cannot be reached.
        """
        self.config = config
        self.frame_size: tuple[int, int] | None = None
        """Width and height in pixels of the first upright frame of the last video; None before its rows are complete."""
        self.range_frames = RangeFrames()
        """The frames around the range of the last video."""
        self.boxes: BoxTable | None = None
        self.frame_detector: FrameDetector | None = None
        self.embedder = embedder or make_embedder(config, embedder_weights)
        if config.detector.kind == "given":
            self.boxes = BoxTable(config.detector.boxes)
        else:
            self.frame_detector = FrameDetector(detector or make_detector(config.detector, weights), config.detector, config.window)

    def __call__(
        self, video: dict, last: int | None = None, notes: dict[str, int] | None = None, time_range: TimeRange = ALL_TIMES
    ) -> Iterator[pa.Table]:
        """Detect, track and crop the people of one video.

        Named subjects and the main subject have one row for every frame of the range, by default 1 to n; other people from their first to their last
        observation. Rows are ordered by person, frames ascending. The detector always runs on the last frame of a shot, so no box is
        extrapolated.

        Args:
            video: A ``VIDEO`` row: ``video``, ``uri`` and ``subjects`` are used.
            last: Stop after this many frames; None goes to the end.
            notes: Receives what is to be known about the rows, before the first table: ``mixed_subjects``, the number of a data set's subjects
                whose rows show clearly different faces.
            time_range: The part of the video that has rows. Frames before it are decoded and counted, and decoding ends after it.

        Yields:
            FACE tables of at most 256 rows; none where no frame is in the range.

        Raises:
            MissingError: the file does not exist.
            StorageError: a remote file cannot be read; a retry may succeed.
            ItemError: the file is not a video, or decoding fails midway: then raised after the rows of all good frames.
        """
        with RowBuffer() as buffer:
            result = self._process(video, WHOLE_VIDEO, buffer, last, time_range)
            yield from self._tables(video, [result], [buffer.finish()], notes)

    def crop_chunk(self, video: dict, chunk: Chunk, folder: Path, last: int | None = None) -> ChunkResult:
        """Process one chunk of a video and write the result to files, to be joined with the other chunks by ``join_chunks``.

        For a file that does not support seeking, the result is empty, and ``join_chunks`` raises ``ChunkMismatchError``.

        Args:
            video: A ``VIDEO`` row.
            chunk: The segments to process.
            folder: An empty folder for ``rows.arrow`` and ``chunk.json``.
            last: Stop after this many frames, counted from where decoding starts.

        Raises:
            MissingError: the file does not exist.
            StorageError: a remote file cannot be read; a retry may succeed.
        """
        with RowBuffer(folder / ROWS_FILE) as buffer:
            result = self._process(video, chunk, buffer, last)
        result.write(folder)
        return result

    def join_chunks(self, video: dict, folders: list[Path], notes: dict[str, int] | None = None) -> Iterator[pa.Table]:
        """Join all chunks of a video: yields the tables of ``__call__``, row for row.

        Args:
            video: The same ``VIDEO`` row.
            folders: Written by ``crop_chunk``, in order of time.
            notes: As for ``__call__``.

        Raises:
            ChunkMismatchError: the chunks cannot be joined; the video has to be processed in one pass.
            ItemError: as ``__call__``.
        """
        with ExitStack() as files:
            results = [ChunkResult.read(folder) for folder in folders]
            readers = [
                RowReader(files.enter_context((folder / ROWS_FILE).open("rb")), result.batches)
                for folder, result in zip(folders, results, strict=True)
            ]
            yield from self._tables(video, results, readers, notes)

    def _process(self, video: dict, chunk: Chunk, buffer: RowBuffer, last: int | None, time_range: TimeRange = ALL_TIMES) -> ChunkResult:
        reader = ChunkReader(self.config, self.frame_detector_of(video), self.embedder, chunk, buffer, time_range)
        clock = Clock()
        try:
            for frame in decode(video["uri"], start=reader.decode_start, max_frames=last, clock=clock):
                if not reader.process(frame):
                    break
        except ItemError as error:
            if chunk == WHOLE_VIDEO and error.last_frame is None:
                raise
            reader.result.error = str(error)
        except SeekError:
            return ChunkResult(repaired_times=True)
        reader.result.repaired_times = clock.repaired
        return reader.finish()

    def still_detector(self) -> StillDetector | None:
        """Return the detector for single images; None with the user's own boxes."""
        return StillDetector(self.frame_detector.detector, self.config.detector) if self.frame_detector else None

    def frame_detector_of(self, video: dict) -> FrameDetector | GivenBoxes:
        """Return the detector, or the user's own boxes of this video."""
        if self.boxes is not None:
            return self.boxes.boxes_of(video["video"])
        assert self.frame_detector is not None  # one of the two is built
        return self.frame_detector

    def _tables(self, video: dict, results: list[ChunkResult], readers: list[RowReader], notes: dict[str, int] | None) -> Iterator[pa.Table]:
        self.frame_size = next((result.size for result in results if result.size), None)
        thresholds = None if self.embedder is None else self.embedder.thresholds
        stitched = stitch(results, self.config.people.votes, thresholds)
        self.range_frames = _range_frames(stitched.times, results[0].skipped, results[-1].after)
        if stitched.error is not None and self.range_frames.first is None:
            raise ItemError(stitched.error)
        summaries = [tracklet.summary for tracklet in stitched.tracklets]
        by_id = {tracklet.summary.id: tracklet for tracklet in stitched.tracklets}
        people, complete = self._names(video["subjects"], summaries)
        if notes is not None and video["subjects"]:
            notes["mixed_subjects"] = count_mixed(people, self.config.people, thresholds)
        for track, tracklets in people.items():
            first, last = (results[0].skipped + 1, len(stitched.times)) if track in complete else (tracklets[0].first_frame, tracklets[-1].last_frame)
            batches = (batch for tracklet in tracklets for batch in _read(by_id[tracklet.id], readers, stitched.frame_offsets))
            for table in fill_frames(batches, first, last, stitched.times, stitched.shots):
                yield to_face_table(table, video["video"], track)
        if stitched.error is not None:
            raise ItemError(stitched.error, len(stitched.times))

    def _names(self, subjects: list[dict], summaries: list[TrackletSummary]) -> tuple[dict[str, list[TrackletSummary]], set[str]]:
        """Return each person's tracklets by name, and the names that have a row for every frame."""
        if summaries and all(summary.track is not None for summary in summaries):
            people = name_tracks(summaries)
            return people, set(people)
        if subjects:
            people = name_subjects(summaries, subjects, self.config.people)
            return people, set(people)
        people = name_people(summaries, self.config.people, None if self.embedder is None else self.embedder.thresholds)
        return people, {next(iter(people))}


def _read(tracklet: StitchedTracklet, readers: list[RowReader], frame_offsets: list[int]) -> Iterator[pa.RecordBatch]:
    for chunk, part in tracklet.sources:
        yield from readers[chunk].read(part.buffer_id, part.first_frame, part.last_frame, frame_offsets[chunk])


def _range_frames(times: Float[np.ndarray, " frames"], skipped: int, after: float | None) -> RangeFrames:
    """``times``: of all decoded frames up to the end of the range."""
    before, inside = times[:skipped].tolist(), times[skipped:].tolist()
    return RangeFrames(
        skipped=skipped,
        video_start=next(iter([*before, *inside]), after),
        before=before[-1] if before else None,
        first=inside[0] if inside else None,
        last=inside[-1] if inside else None,
        after=after,
    )
