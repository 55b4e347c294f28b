"""One decoding pass over one chunk of a video -> its result: each frame is processed by the trackers of the segments that cover it."""

import zlib

from abaw_ray.faces.chunk_result import ChunkResult
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.detection.box_table import GivenBoxes
from abaw_ray.faces.detection.frame_detector import FrameDetector
from abaw_ray.faces.identity.embedder import FaceEmbedder
from abaw_ray.faces.tracking.row_buffer import RowBuffer
from abaw_ray.faces.tracking.segment_tracker import SegmentTracker
from abaw_ray.faces.tracking.segments import Chunk, segments_at
from abaw_ray.faces.tracking.time_range import ALL_TIMES, TimeRange
from abaw_ray.media.frame import Frame


class ChunkReader:
    """Processes the frames of one chunk in order."""

    def __init__(
        self,
        config: FacesConfig,
        frame_detector: FrameDetector | GivenBoxes,
        embedder: FaceEmbedder | None,
        chunk: Chunk,
        buffer: RowBuffer,
        time_range: TimeRange = ALL_TIMES,
    ) -> None:
        """Args: as ``CropFaces``, and ``time_range``: the processed part, of a chunk that is the whole video."""
        self.config, self.frame_detector, self.embedder, self.chunk, self.buffer = config, frame_detector, embedder, chunk, buffer
        self.time_range = time_range
        self.trackers: dict[int, SegmentTracker] = {}
        self.result = ChunkResult(first_frame=0)
        self.first_time: float | None = None
        """Time of the first processed frame; segments that end before it own none."""
        self.start = None if chunk.first is None else chunk.first * config.segments.length_s
        self.stop = None if chunk.stop is None else chunk.stop * config.segments.length_s

    @property
    def decode_start(self) -> float | None:
        """Seconds from which frames are needed; None for the start of the video."""
        return None if self.start is None else self.start - self.config.segments.overlap_s

    def process(self, frame: Frame) -> bool:
        """Process a frame; returns False once no further frame is needed."""
        self.result.size = self.result.size or (frame.width, frame.height)
        if self.time_range.is_before(frame.time):
            self._skip(frame)
            return True
        if self.time_range.is_after(frame.time):
            self.result.after = frame.time
            return False
        near_start, near_stop = self._is_near(self.start, frame), self._is_near(self.stop, frame)
        if self.start is not None and frame.time < self.start and not near_start:
            return True
        if self.stop is not None and frame.time > self.stop and not near_stop:
            return False
        for near, checksums in ((near_start, self.result.start_checksums), (near_stop, self.result.end_checksums)):
            if near:
                checksums.append([frame.time, zlib.crc32(frame.coarse_luma.tobytes())])
        self.result.reached_end |= self.stop is not None and frame.time >= self.stop
        self.first_time = frame.time if self.first_time is None else self.first_time
        segments = [segment for segment in segments_at(frame.time, self.chunk, self.config.segments) if segment.stop > self.first_time]
        self._close({segment.index for segment in segments})
        for segment in segments:
            if segment.index not in self.trackers:
                self.trackers[segment.index] = SegmentTracker(self.config, self.frame_detector, segment, self.buffer, self.embedder)
            self.trackers[segment.index].process(frame)
        if any(segment.owns(frame.time) for segment in segments):
            self.result.first_frame = self.result.first_frame or frame.number
            self.result.times.append(frame.time)
        return True

    def finish(self) -> ChunkResult:
        """Finish the open segments; returns the result of the chunk."""
        self._close(set())
        self.result.first_frame = self.result.first_frame or 1
        self.result.batches = self.buffer.batches
        return self.result

    def _skip(self, frame: Frame) -> None:
        """Count a frame before the range: frames keep the numbers that they have in the whole video."""
        self.result.first_frame = 1
        self.result.skipped += 1
        self.result.times.append(frame.time)

    def _is_near(self, boundary: float | None, frame: Frame) -> bool:
        return boundary is not None and self.config.segments.near_boundary(boundary, frame.time)

    def _close(self, kept: set[int]) -> None:
        for index in sorted(self.trackers.keys() - kept):
            tracker = self.trackers.pop(index)
            self.result.tracklets += tracker.finish()
            self.result.shot_starts += tracker.shot_starts
