"""A video -> FACE rows: one decode, people followed stretch by stretch, one chip a frame cut while decoding.

The straight line: ``media/video`` gives frames, ``watch`` the rows of a stretch, ``spool`` keeps them on disk until the video ends, ``stitch``
puts the stretches together, ``people`` gives names, ``rows`` the tables. Where it runs, and on how many videos, is ``cluster/faces.py``'s.
"""

import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa

from abaw_ray.core.errors import ItemError
from abaw_ray.faces.chunk_files import ROWS, Piece
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.detection.box_table import BoxTable, GivenBoxes
from abaw_ray.faces.detection.detect import Detector, make_detector
from abaw_ray.faces.detection.observe import Observer
from abaw_ray.faces.rows import fill_frames, named
from abaw_ray.faces.stitch import Person, stitch
from abaw_ray.faces.tracking.people import Summary, name_people, name_subjects, name_tracks
from abaw_ray.faces.tracking.segment_tracker import Watch
from abaw_ray.faces.tracking.segments import WHOLE, Span, stretches_of
from abaw_ray.faces.tracking.spool import Rows, Spool
from abaw_ray.media.clock import Clock
from abaw_ray.media.frame import Frame
from abaw_ray.media.video import SeekError, decode

REVISION = 4
"""Raised by hand whenever the same video and settings give other rows: results of other revisions are made again."""


class CropFaces:
    """``VIDEO`` rows in, ``FACE`` tables out. Built once a worker; knows nothing of the engine."""

    def __init__(self, config: FacesConfig, detector: Detector | None = None, weights: bytes | None = None) -> None:
        """Build the detector.

        Args:
            config: What shapes the rows.
            detector: Another one, in place of the one that is named (tests do).
            weights: YuNet's, where somebody has read them already.

        Raises:
            ConfigError: YuNet's weights, or the table of boxes, are missing.
            DataError: likewise.
            StorageError: they could not be read.
        """
        self.config, self.boxes, self.observer = config, None, None
        if config.detector.kind == "given":
            self.boxes = BoxTable(config.detector.boxes)
        else:
            self.observer = Observer(detector or make_detector(config.detector, weights), config.detector, config.window)

    def __call__(self, video: dict, last: int | None = None) -> Iterator[pa.Table]:
        """Find, follow and crop the people of one video.

        Named subjects and the main subject have one row for every frame that was decoded, 1 to n; further people from their first to their
        last sight. Rows come person by person, frames ascending. The last picture of a shot is always looked at, so no box is guessed
        beyond what was seen.

        Args:
            video: A ``VIDEO`` row: ``video``, ``uri`` and ``subjects`` are used.
            last: Stop after this many frames; None goes to the end.

        Yields:
            FACE tables of at most 256 rows.

        Raises:
            MissingError: there is no such file.
            StorageError: a remote file could not be read; it may be tried again.
            ItemError: it is no video; or it breaks in mid-stream: then after the rows of all good frames were given.
        """
        with Spool() as spool:
            piece = self._watch(video, WHOLE, spool, last)
            yield from self._tables(video, [piece], [spool.finish()])

    def cut(self, video: dict, span: Span, folder: Path, last: int | None = None) -> Piece:
        """Watch one span of a video; what comes of it goes to files, to be put together with the other spans by ``join``.

        Args:
            video: A ``VIDEO`` row.
            span: Which stretches.
            folder: An empty folder for ``rows.arrow`` and ``piece.json``.
            last: Stop after this many frames, counted from where decoding begins.

        A file that cannot be entered in its middle gives an empty piece, which ``join`` refuses.

        Raises:
            MissingError: there is no such file.
            StorageError: a remote file could not be read; it may be tried again.
        """
        with Spool(folder / ROWS) as spool:
            piece = self._watch(video, span, spool, last)
        piece.write(folder)
        return piece

    def join(self, video: dict, folders: list[Path]) -> Iterator[pa.Table]:
        """Put all pieces of a video together: the tables that ``__call__`` gives for it, row for row.

        Args:
            video: The same ``VIDEO`` row.
            folders: As ``cut`` left them, in order of time.

        Raises:
            SeamError: the pieces do not fit together; the video has to be watched whole.
            ItemError: as ``__call__``.
        """
        with ExitStack() as files:
            pieces = [Piece.read(folder) for folder in folders]
            rows = [Rows(files.enter_context((folder / ROWS).open("rb")), piece.batches) for folder, piece in zip(folders, pieces, strict=True)]
            yield from self._tables(video, pieces, rows)

    def _watch(self, video: dict, span: Span, spool: Spool, last: int | None) -> Piece:
        observer = self.observer or self.boxes.of(video["video"])
        watching = _Watching(self.config, observer, span, spool)
        clock = Clock()
        try:
            for frame in decode(video["uri"], start=watching.start, max_frames=last, clock=clock):
                if not watching.take(frame):
                    break
        except ItemError as error:
            if span == WHOLE and error.last_frame is None:
                raise
            watching.piece.broke = str(error)
        except SeekError:
            return Piece(mended=True)
        watching.piece.mended = clock.repaired
        return watching.end()

    def _tables(self, video: dict, pieces: list[Piece], rows: list[Rows]) -> Iterator[pa.Table]:
        whole = stitch(pieces)
        if whole.broke is not None and not len(whole.times):
            raise ItemError(whole.broke)
        summaries = [person.summary for person in whole.people]
        parts = {person.summary.id: person for person in whole.people}
        named_people, everywhere = self._names(video["subjects"], summaries)
        for track, tracklets in named_people.items():
            first, last = (1, len(whole.times)) if track in everywhere else (tracklets[0].first, tracklets[-1].last)
            batches = (batch for tracklet in tracklets for batch in _read(parts[tracklet.id], rows, whole.later))
            for table in fill_frames(batches, first, last, whole.times):
                yield named(table, video["video"], track)
        if whole.broke is not None:
            raise ItemError(whole.broke, len(whole.times))

    def _names(self, subjects: list[dict], summaries: list[Summary]) -> tuple[dict[str, list[Summary]], set[str]]:
        """Each person's tracklets by name, and who has a row for every frame."""
        if summaries and all(summary.track is not None for summary in summaries):
            named_people = name_tracks(summaries)
            return named_people, set(named_people)
        if subjects:
            named_people = name_subjects(summaries, subjects, self.config.people)
            return named_people, set(named_people)
        named_people = name_people(summaries, self.config.people)
        return named_people, {next(iter(named_people))}


class _Watching:
    """One decode of one span: frames go to the stretches that watch them."""

    def __init__(self, config: FacesConfig, observer: Observer | GivenBoxes, span: Span, spool: Spool) -> None:
        self.config, self.observer, self.span, self.spool = config, observer, span, spool
        self.open: dict[int, Watch] = {}
        self.piece = Piece(first=0)
        self.begin = None if span.first is None else span.first * config.stretches.seconds
        self.stop = None if span.stop is None else span.stop * config.stretches.seconds

    @property
    def start(self) -> float | None:
        """Seconds from which on frames matter; None for the beginning."""
        return None if self.begin is None else self.begin - self.config.stretches.overlap

    def take(self, frame: Frame) -> bool:
        """Watch a frame; False once no further one matters."""
        opening, closing = self._is_about(self.begin, frame), self._is_about(self.stop, frame)
        if self.begin is not None and frame.time < self.begin and not opening:
            return True
        if self.stop is not None and frame.time > self.stop and not closing:
            return False
        for shared, place in ((opening, self.piece.opening), (closing, self.piece.closing)):
            if shared:
                place.append([frame.time, zlib.crc32(frame.coarse_luma.tobytes())])
        self.piece.complete |= self.stop is not None and frame.time >= self.stop
        here = stretches_of(frame.time, self.span, self.config.stretches)
        self._close({stretch.number for stretch in here})
        for stretch in here:
            if stretch.number not in self.open:
                self.open[stretch.number] = Watch(self.config, self.observer, stretch, self.spool)
            self.open[stretch.number].take(frame)
        if any(stretch.owns(frame.time) for stretch in here):
            self.piece.first = self.piece.first or frame.number
            self.piece.times.append(frame.time)
        return True

    def end(self) -> Piece:
        """Close what is open; returns what was seen."""
        self._close(set())
        self.piece.first = self.piece.first or 1
        self.piece.batches = self.spool.batches
        return self.piece

    def _is_about(self, seam: float | None, frame: Frame) -> bool:
        return seam is not None and self.config.stretches.about(seam, frame.time)

    def _close(self, kept: set[int]) -> None:
        for number in sorted(self.open.keys() - kept):
            self.piece.tracklets += self.open.pop(number).end()


def _read(person: Person, rows: list[Rows], later: list[int]) -> Iterator[pa.RecordBatch]:
    for index, tracklet in person.parts:
        yield from rows[index].read(tracklet, later[index])
