"""A video and the ANALYSIS table of all its people -> an MP4 with boxes, names, expressions and probabilities in every frame, and its sound.

The times of the frames are checked against the table: a table of another video raises an error.
"""

import functools
from itertools import chain, dropwhile
from pathlib import Path

import pyarrow as pa

from abaw_ray.core.errors import DataError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.media.config import EncodingConfig
from abaw_ray.media.frame import Frame
from abaw_ray.media.playback.isolated import IsolatedVideoWriter, WrittenVideo
from abaw_ray.media.playback.mp4 import Mp4Writer, playback_size
from abaw_ray.media.probe import header_pixel_aspect
from abaw_ray.media.video import decode
from abaw_ray.report.overlay.painter import Painter
from abaw_ray.report.overlay.people import Person, read_people

_TOLERANCE_S = 1e-3
"""Seconds by which the times of a frame and of its row may differ."""


class OverlayWriter:
    """Writes overlay videos in a child process, one after another."""

    def __init__(self, encoding: EncodingConfig, limits: ChildLimits) -> None:
        """No process starts before the first call."""
        self._writer = IsolatedVideoWriter(functools.partial(write_overlay, encoding=encoding), limits)

    def __call__(self, uri: str, table: pa.Table, path: Path, *, end: float | None = None) -> WrittenVideo:
        """Write the overlay of one video.

        Args:
            uri: A local path or a URI that pyarrow understands.
            table: ``ANALYSIS`` rows of all people of the video.
            path: An ``.mp4`` file in an existing folder; not written atomically, and deleted after an error.
            end: Time at which the sound ends, in seconds, where the table ends before the video; None for all of it.

        Raises:
            DataError: the rows are of another video, or of none.
            MissingError: there is no such video.
            ItemError: decoding fails before the last frame of the table.
            StorageError: the store or the local disk failed; a retry may succeed.
        """
        people = read_people(table)
        return self._writer(uri, path, people, start=float(people[0].time[0]), end=end)

    def close(self) -> None:
        """End the child."""
        self._writer.close()


def write_overlay(uri: str, path: Path, sound: Path | None, start: float, people: list[Person], *, encoding: EncodingConfig) -> int:
    """Write the overlay from the first frame of the table to its last one.

    Args:
        uri: A local path or a URI that pyarrow understands.
        path: An ``.mp4`` file in an existing folder.
        sound: Written by ``extract_sound`` with the same ``start``; None for no sound.
        start: Time of the first frame of the table in seconds. A frame of time t is at t - ``start`` in the overlay.
        people: All people of the video, the main one first.
        encoding: Size and quality.

    Returns:
        The number of frames in the overlay.

    Raises:
        DataError: the rows are of another video.
        ItemError: decoding fails before the last frame.

    Source: ours.
    """
    main, last = people[0], 0
    skipped, wanted = int(main.frame[0]) - 1, int(main.frame[-1])
    frames = dropwhile(lambda frame: frame.number <= skipped, decode(uri, max_frames=wanted))
    first, pixel_aspect = next(frames, None), header_pixel_aspect(uri)
    if first is None:
        raise DataError(f"{uri}: ends before frame {skipped + 1:,}, the first of the rows; they are of another video")
    size = playback_size(first, pixel_aspect, encoding.max_side)
    painter = Painter(people, size, (size[0] / first.width, size[1] / first.height))
    with Mp4Writer(path, size, encoding, sound) as writer:
        for frame in chain([first], frames):
            _check(uri, frame, main)
            scale = (size[0] / frame.width, size[1] / frame.height)
            writer.add(painter.draw(frame.resized(*size), frame.number, frame.time, scale), frame.time - start)
            last = frame.number
        if last < wanted:
            raise DataError(f"{uri}: has {last:,} frames, the rows {wanted:,}; they are of another video")
    return last - skipped


def _check(uri: str, frame: Frame, main: Person) -> None:
    row = main.at(frame.number)
    if row is None:
        raise DataError(f"{uri}: the rows of '{main.name}' have no frame {frame.number}; the main person needs one row for every frame")
    if frame.number == main.frame[row] and abs(frame.time - main.time[row]) > _TOLERANCE_S:
        raise DataError(f"{uri}: frame {frame.number} is at {frame.time:.3f} s, the rows say {main.time[row]:.3f} s; they are of another video")
