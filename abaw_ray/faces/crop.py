"""A video -> FACE rows: one decode, looks on a schedule of seconds, people followed, one chip a frame cut while decoding.

The straight line: ``media/video`` gives frames, ``cuts`` shots, ``observe`` faces, ``tracks`` tracklets, ``chips`` crops; ``spool`` keeps
them on disk until the video ends, ``people`` gives names, ``rows`` the tables. Where it runs, and on how many videos, is ``cluster/faces.py``'s.
"""

import math
from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
import pyarrow as pa

from abaw_ray.core.errors import ConfigError, ItemError
from abaw_ray.faces.boxes import area, between, centre
from abaw_ray.faces.chips import ChipConfig, cut_chip, to_jpeg
from abaw_ray.faces.cuts import CutConfig, Cuts
from abaw_ray.faces.detect import Detector, DetectorConfig, Face, make_detector
from abaw_ray.faces.observe import Observer, WindowConfig
from abaw_ray.faces.people import PeopleConfig, Summary, name_people, name_subjects
from abaw_ray.faces.rows import fill_frames, named
from abaw_ray.faces.spool import Spool
from abaw_ray.faces.tracks import Sight, TrackConfig, Tracker, Tracklet
from abaw_ray.media.frame import Frame
from abaw_ray.media.video import decode

REVISION = 1
"""Raised by hand whenever the same video and settings give other rows: results of other revisions are made again."""
_MB = 2**20
"""Bytes."""


@dataclass(frozen=True, kw_only=True)
class FacesConfig:
    """Everything that shapes the rows of a video."""

    detector: DetectorConfig = field(default_factory=DetectorConfig)
    """What finds faces."""
    window: WindowConfig = field(default_factory=WindowConfig)
    """Where a known face is looked for."""
    cuts: CutConfig = field(default_factory=CutConfig)
    """When a shot ends."""
    tracks: TrackConfig = field(default_factory=TrackConfig)
    """When one looks, and who is the same person."""
    people: PeopleConfig = field(default_factory=PeopleConfig)
    """Who is the same person across cuts."""
    chips: ChipConfig = field(default_factory=ChipConfig)
    """What is kept of a face."""
    buffer_mb: int = 256
    """Megabytes of decoded pictures that may wait for their boxes; where they would be more (4K, 60 frames a second), one looks
    more often and bridges shorter gaps. Ours, not from the paper."""

    def __post_init__(self) -> None:
        """Refuse a buffer that could not hold two pictures."""
        if self.buffer_mb < 64:
            raise ConfigError(f"buffer_mb={self.buffer_mb} must be at least 64: two 8K pictures need as much")


class CropFaces:
    """``VIDEO`` rows in, ``FACE`` tables out. Built once a worker; knows nothing of the engine."""

    def __init__(self, config: FacesConfig, detector: Detector | None = None) -> None:
        """Build the detector, or take one that is given (tests do).

        Raises:
            ConfigError: YuNet's weights are missing.
        """
        self.config = config
        self.detector = detector or make_detector(config.detector)

    def __call__(self, video: dict) -> Iterator[pa.Table]:
        """Find, follow and crop the people of one video.

        Named subjects and the main subject have one row for every frame that was decoded, 1 to n; further people from their first to their
        last sight. Rows come person by person, frames ascending. The last picture of a shot is always looked at, so no box is guessed
        beyond what was seen.

        Args:
            video: A ``VIDEO`` row: ``video``, ``uri`` and ``subjects`` are used.

        Yields:
            FACE tables of at most 256 rows.

        Raises:
            DataError: there is no such file.
            StorageError: a remote file could not be read; it may be tried again.
            ItemError: it is no video; or it breaks in mid-stream: then after the rows of all good frames were given.
        """
        with Spool() as spool:
            watch = Watch(self.config, self.detector, spool)
            broke = watch.whole(video["uri"])
            yield from self._tables(video, watch, spool)
        if broke is not None:
            raise broke

    def _tables(self, video: dict, watch: "Watch", spool: Spool) -> Iterator[pa.Table]:
        times = np.frombuffer(watch.times, dtype=np.float64)
        rejected = watch.tracker.rejected()
        believed = [summary for summary in watch.summaries.values() if summary.id not in rejected]
        if video["subjects"]:
            people = name_subjects(believed, video["subjects"], watch.width, self.config.people)
            whole = set(people)
        else:
            people = name_people(believed, self.config.people)
            whole = {next(iter(people))}
        for track, tracklets in people.items():
            first, last = (1, len(times)) if track in whole else (tracklets[0].first, tracklets[-1].last)
            batches = spool.read([tracklet.id for tracklet in tracklets])
            for table in fill_frames(batches, first, last, times):
                yield named(table, video["video"], track)


class Watch:
    """One pass over one video: from frames to rows of tracklets in the spool."""

    def __init__(self, config: FacesConfig, detector: Detector, spool: Spool) -> None:
        self.config, self.spool = config, spool
        self.observer = Observer(detector, config.detector, config.window)
        self.tracker = Tracker(config.tracks, config.detector.min_score)
        self.cuts = Cuts(config.cuts)
        self.times, self.width = array("d"), 0
        self.summaries: dict[int, Summary] = {}
        self.waiting: deque[Frame] = deque()
        self.searched = self.followed = None

    def whole(self, uri: str) -> ItemError | None:
        """Watch the video to its end; returns the error that ended it early, once at least one frame was good."""
        broke = None
        try:
            for frame in decode(uri):
                self._take(frame)
        except ItemError as error:
            if not self.times:
                raise
            broke = error
        self._end_shot()
        return broke

    def _take(self, frame: Frame) -> None:
        if self.cuts.first_of_shot(frame.coarse_luma()):
            self._end_shot()
        self.times.append(frame.time)
        self.width = frame.width
        self.waiting.append(frame)
        tracks, crowded = self.config.tracks, self._crowded(0.5)
        every = tracks.search_every if self.tracker.active else tracks.seek_every
        if _due(frame.time, self.searched, every):
            self.searched = self.followed = frame.time
            self._note(frame, self.observer.everywhere(frame, self._known()))
        elif self.tracker.active and (crowded or _due(frame.time, self.followed, tracks.follow_every)):
            self.followed = frame.time
            self._note(frame, self.observer.look(frame, self._known()))
        while self.tracker.active and self._crowded(1.0):
            self.tracker.rest_oldest()
            self._drop_done()
        if not self.tracker.active:
            self.waiting.clear()

    def _end_shot(self) -> None:
        """Look at the shot's last picture, then part with everybody."""
        if self.tracker.active and self.waiting:
            self._note(self.waiting[-1], self.observer.look(self.waiting[-1], self._known()))
        self.tracker.cut()
        self.spool.flush()
        self.observer.forget()
        self.waiting.clear()
        self.searched = self.followed = None

    def _note(self, frame: Frame, faces: list[Face]) -> None:
        for tracklet in self.tracker.update(frame.number, frame.time, faces):
            if tracklet.bridge is not None:
                self._bridge(tracklet)
            self._write(tracklet.id, frame, tracklet.last.face)
            self._remember_colours(tracklet.id, frame, tracklet.last.face)
        self._drop_done()

    def _bridge(self, tracklet: Tracklet) -> None:
        """Rows for the frames between two looks, box and landmarks on the straight line between them."""
        a, b = tracklet.bridge, tracklet.last
        for frame in self.waiting:
            if a.frame < frame.number < b.frame:
                self._write(tracklet.id, frame, _middle(a, b, frame.time))

    def _write(self, tracklet: int, frame: Frame, face: Face) -> None:
        chip = cut_chip(self.observer.rgb(frame), face.box, self.config.chips)
        row = {
            "frame": frame.number,
            "time": frame.time,
            "seen": True,
            "source": face.source,
            "box": face.box.tolist(),
            "score": face.score,
            "landmarks": None if face.landmarks is None else face.landmarks.ravel().tolist(),
            "chip": to_jpeg(chip.image, self.config.chips.quality),
            "chip_scale": chip.scale,
            "inside": chip.inside,
        }
        self.spool.add(tracklet, row)
        summary = self.summaries.setdefault(tracklet, Summary(tracklet, frame.number))
        summary.last, summary.rows = frame.number, summary.rows + 1
        summary.area += float(area(face.box))
        summary.x += float(centre(face.box)[0])

    def _remember_colours(self, tracklet: int, frame: Frame, face: Face) -> None:
        rgb = self.observer.rgb(frame)
        self.summaries[tracklet].colours = self.summaries[tracklet].colours + _colours(rgb, face.box)

    def _known(self) -> list[np.ndarray]:
        return [tracklet.last.face.box for tracklet in self.tracker.active]

    def _drop_done(self) -> None:
        """Let go of pictures that nobody waits for."""
        done = min((tracklet.last.frame for tracklet in self.tracker.active), default=np.inf)
        while self.waiting and self.waiting[0].number <= done:
            self.waiting.popleft()

    def _crowded(self, share: float) -> bool:
        size = sum(plane.buffer_size for plane in self.waiting[-1].picture.planes) if self.waiting else 0
        return len(self.waiting) * size > share * self.config.buffer_mb * _MB


def _due(time: float, last: float | None, every: float) -> bool:
    """Whether a multiple of ``every`` lies between the last look and now: a schedule of the clock's, the same wherever one begins."""
    return last is None or math.floor(time / every) > math.floor(last / every)


def _middle(a: Sight, b: Sight, time: float) -> Face:
    share = (time - a.time) / (b.time - a.time)
    both = a.face.landmarks is not None and b.face.landmarks is not None
    landmarks = between(a.face.landmarks, b.face.landmarks, share) if both else None
    return Face(between(a.face.box, b.face.box, share), None, landmarks, "interpolated")


def _colours(rgb: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Histogram of a face and its surroundings in 6 x 6 x 6 colours; says something about hair, clothes and room too."""
    chip = cut_chip(rgb, box, ChipConfig(scales=(2.0,), size=32)).image
    return cv2.calcHist([chip], [0, 1, 2], None, [6, 6, 6], [0, 256] * 3).ravel()
