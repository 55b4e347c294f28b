"""A video and its tracks -> single frames and chips, and an overlay video with the boxes of all people.

Frame times are checked against the tracks, so tracks of another video raise an error.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from abaw_ray.core.errors import DataError, ItemError
from abaw_ray.core.frame_times import frame_ends
from abaw_ray.faces.chips import crop_chip
from abaw_ray.faces.config import ChipConfig
from abaw_ray.media.audio import RATE, Audio
from abaw_ray.media.frame import Frame
from abaw_ray.media.video import SeekError, decode
from abaw_ray.media.write import write_video
from abaw_ray.report.tracks.canvas import INK, PAPER, WARNING, Canvas, format_time
from abaw_ray.report.tracks.frame_images import FrameImage, draw_people
from abaw_ray.report.tracks.timeline_bar import Axis, draw_timeline_bar, format_gap
from abaw_ray.report.tracks.track import STATES, Track, find_gaps, frame_times

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv")
"""Containers that store arbitrary frame times."""
_TOLERANCE_S = 1e-3
"""Seconds by which two times of one frame may differ."""
_WIDTHS = (640, 1280)
"""Pixels: minimum and maximum width of the overlay; smaller videos are enlarged, so that the text is legible."""
_PANEL = 56
"""Pixels below the frame for the bar and the status text."""
_SIDE = 12
"""Pixels to the left and right of the bar and the text."""


def frames_at(uri: str, wanted: Mapping[int, float]) -> Iterator[tuple[int, Frame]]:
    """Yield frames of a video, given by number and time: by seeking if the container supports it, else in one pass.

    Raises:
        DataError: the file does not exist, or has no frame of that number and time.
        StorageError: a remote file cannot be read.
        ItemError: decoding fails before the last wanted frame.
    """
    missing = dict(sorted(wanted.items()))
    try:
        for number, time in sorted(wanted.items()):
            found = next((frame for frame in decode(uri, start=time - _TOLERANCE_S) if frame.time > time - _TOLERANCE_S), None)
            if found is None or found.time > time + _TOLERANCE_S:
                break
            yield number, found
            del missing[number]
    except (SeekError, ItemError):
        pass  # the pass over the whole video below raises the error of a damaged file
    for frame in decode(uri, max_frames=max(missing)) if missing else ():
        if frame.number in missing:
            _check(uri, frame, missing.pop(frame.number))
            yield frame.number, frame
    if missing:
        raise DataError(f"{uri}: has no frame {next(iter(missing))}; the rows are of another video")


def frame_images(uri: str, track: Track, frames: Sequence[int], size: tuple[int, int]) -> list[FrameImage]:
    """Return the whole frames of these numbers at this width and height; errors as ``frames_at``."""
    wanted = {frame: float(track.time[track.at(frame)]) for frame in frames}
    return [_frame_image(number, frame, size) for number, frame in frames_at(uri, wanted)]


def crop_chips(uri: str, track: Track, frames: Sequence[int], config: ChipConfig) -> dict[int, UInt8[np.ndarray, "side side 3"]]:
    """Return chips, cropped from the video, of those frames that have a face; errors as ``frames_at``."""
    rows = {frame: track.at(frame) for frame in frames}
    wanted = {frame: float(track.time[row]) for frame, row in rows.items() if track.seen[row]}
    return {number: crop_chip(frame, track.box[rows[number]], config).image for number, frame in frames_at(uri, wanted)}


def write_overlay(path: Path, uri: str, tracks: Mapping[str, Track], name: str, audio: Audio | None) -> None:
    """Write the video with boxes and names, and below it the time, the state of one track, and its timeline bar.

    Args:
        path: A file with one of the suffixes ``VIDEO_SUFFIXES`` in an existing folder.
        uri: The video.
        tracks: All of its tracks.
        name: The highlighted track.
        audio: Its audio.

    Raises:
        DataError: the video does not exist, or the tracks are of another one.
        ItemError: decoding fails before the last frame of the tracks.

    Source: ours.
    """
    times = frame_times(list(tracks.values()))[1]
    shift = min(float(times[0]), 0.0)  # a file cannot store times before 0 s
    samples, start = _trim_audio(audio, shift, float(frame_ends(times)[-1]))
    write_video(path, _Overlay(uri, tracks, name), times - shift, samples, audio_start=start, crf=21, preset="veryfast")


def _frame_image(number: int, frame: Frame, size: tuple[int, int]) -> FrameImage:
    larger = size[0] > frame.width
    rgb = cv2.resize(frame.rgb(), size, interpolation=cv2.INTER_CUBIC) if larger else frame.resized(*size)
    return FrameImage(number, rgb, (size[0] / frame.width, size[1] / frame.height))


def _check(uri: str, frame: Frame, time: float) -> None:
    if abs(frame.time - time) > _TOLERANCE_S:
        raise DataError(f"{uri}: frame {frame.number} is at {frame.time:.3f} s, the rows say {time:.3f} s; they are of another video")


def _trim_audio(audio: Audio | None, shift: float, end: float) -> tuple[Float32[np.ndarray, " samples"] | None, float]:
    """Return the samples between the first and the last frame, and their start in seconds."""
    if audio is None or not len(audio.samples):
        return None, 0.0
    before = max(round((shift - audio.start) * RATE), 0)
    after = max(round((end - audio.start) * RATE), before)
    return audio.samples[before:after], max(audio.start - shift, 0.0)


class _Overlay:
    """Iterates over the images of the overlay."""

    def __init__(self, uri: str, tracks: Mapping[str, Track], name: str) -> None:
        self.uri, self.tracks, self.track = uri, list(tracks.values()), tracks[name]
        self.gaps = find_gaps(self.track)
        frames, self.times = frame_times(self.tracks)
        self.clock = dict(zip(frames.tolist(), self.times.tolist(), strict=True))

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        drawn: tuple[tuple[int, int], UInt8[np.ndarray, "height width 3"], Axis] | None = None
        for frame in decode(self.uri, max_frames=max(self.clock)):
            if frame.number not in self.clock:
                continue
            _check(self.uri, frame, self.clock[frame.number])
            if drawn is None:
                width = 2 * round(min(max(frame.width, _WIDTHS[0]), _WIDTHS[1]) / 2)
                size = (width, 2 * round(width * frame.height / frame.width / 2))
                drawn = (size, *self._panel(width, self.times))
            size, panel, axis = drawn
            yield np.vstack(
                [draw_people(_frame_image(frame.number, frame, size), self.tracks, self.track.name)[0], self._draw_status(panel, axis, frame)]
            )

    def _panel(self, width: int, times: Float[np.ndarray, " frames"]) -> tuple[UInt8[np.ndarray, "height width 3"], Axis]:
        axis = Axis(left=_SIDE, right=width - _SIDE, start=float(times[0]), stop=float(frame_ends(times)[-1]))
        canvas = Canvas(width, _PANEL)
        canvas.fill((0, 0, width, _PANEL), INK)
        draw_timeline_bar(canvas, self.track, axis, 32, 14)
        return np.asarray(canvas.image), axis

    def _draw_status(self, panel: UInt8[np.ndarray, "height width 3"], axis: Axis, frame: Frame) -> UInt8[np.ndarray, "height width 3"]:
        canvas, row = Canvas(0, 0, panel), self.track.at(frame.number)
        width = panel.shape[1]
        used = canvas.text(_SIDE, 8, f"{format_time(frame.time)}   #{frame.number:,}", 14, PAPER, width=width / 2, bold=True)
        if row is None:
            text, color = f"{self.track.name}: no rows", PAPER
        elif not self.track.seen[row]:
            gap = next(gap for gap in self.gaps if gap.first <= frame.number <= gap.last)
            text, color = f"{self.track.name}: not seen {format_gap(gap)}", (255, 150, 136)
            canvas.fill((0, 0, width, 3), WARNING)
        else:
            score = self.track.score[row]
            text, color = f"{self.track.name}: {STATES[self.track.state[row]]}" + ("" if np.isnan(score) else f" {score:.2f}"), PAPER
        canvas.text(width - _SIDE, 8, text, 14, color, width=width - 2 * _SIDE - used - 20, align="r")
        x = axis.x(frame.time)
        canvas.fill((x - 1, 28, x + 2, 50), PAPER)
        return np.asarray(canvas.image)
