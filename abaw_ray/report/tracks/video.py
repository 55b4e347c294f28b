"""A video and the tracks found in it -> single pictures and chips of it, and the same video with everybody's boxes drawn in.

Where the tracks are from does not matter; that they are of this very video is checked by its times.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from abaw_ray.core.errors import DataError, ItemError
from abaw_ray.faces.chips import ChipConfig, cut_chip
from abaw_ray.media.audio import RATE, Audio
from abaw_ray.media.frame import Frame
from abaw_ray.media.video import SeekError, decode
from abaw_ray.media.write import write_video
from abaw_ray.report.tracks.bar import Axis, draw_bar, gap_text
from abaw_ray.report.tracks.canvas import INK, PAPER, WARNING, Canvas, clock_text
from abaw_ray.report.tracks.pictures import Picture, draw_people
from abaw_ray.report.tracks.rows import STATES, Track, ends, gaps_of, video_clock

VIDEOS = (".mp4", ".mov", ".mkv")
"""Containers that keep any times."""
_SAME = 1e-3
"""Seconds by which two times of one frame may differ."""
_WIDTHS = (640, 1280)
"""Pixels: narrowest and widest overlay; smaller videos are enlarged, so that what is written can be read."""
_PANEL = 56
"""Pixels below the picture for the bar and what is said."""
_SIDE = 12
"""Pixels beside them."""


def frames_at(uri: str, wanted: Mapping[int, float]) -> Iterator[tuple[int, Frame]]:
    """The wanted frames of a video, given by number and time: entered near each where the container allows that, else by one whole pass.

    Raises:
        DataError: there is no such file, or it has no frame of that number and time.
        StorageError: a remote file could not be read.
        ItemError: it cannot be decoded as far as that.
    """
    waiting = dict(sorted(wanted.items()))
    try:
        for number, time in sorted(wanted.items()):
            found = next((frame for frame in decode(uri, start=time - _SAME) if frame.time > time - _SAME), None)
            if found is None or found.time > time + _SAME:
                break
            yield number, found
            del waiting[number]
    except (SeekError, ItemError):
        pass  # what is really wrong with it shows in the whole pass
    for frame in decode(uri, max_frames=max(waiting)) if waiting else ():
        if frame.number in waiting:
            _check(uri, frame, waiting.pop(frame.number))
            yield frame.number, frame
    if waiting:
        raise DataError(f"{uri}: has no frame {next(iter(waiting))}; the rows are of another video")


def pictures_of(uri: str, track: Track, frames: Sequence[int], size: tuple[int, int]) -> list[Picture]:
    """Whole pictures of these frames of a track at this width and height; errors as ``frames_at``."""
    wanted = {frame: float(track.time[track.at(frame)]) for frame in frames}
    return [_picture(number, frame, size) for number, frame in frames_at(uri, wanted)]


def chips_of(uri: str, track: Track, frames: Sequence[int], config: ChipConfig) -> dict[int, UInt8[np.ndarray, "side side 3"]]:
    """Chips cut from the video where the rows kept none, of those of the frames that have a face; errors as ``frames_at``."""
    rows = {frame: track.at(frame) for frame in frames}
    wanted = {frame: float(track.time[row]) for frame, row in rows.items() if track.seen[row]}
    return {number: cut_chip(frame, track.box[rows[number]], config).image for number, frame in frames_at(uri, wanted)}


def write_overlay(path: Path, uri: str, tracks: Mapping[str, Track], name: str, audio: Audio | None) -> None:
    """Write the video again with boxes and names, and below it the time, what is known of one track, and its bar.

    Args:
        path: A file with one of the suffixes ``VIDEOS`` in a folder that is there.
        uri: The video.
        tracks: All of its tracks.
        name: The track that is brought out.
        audio: Its sound.

    Raises:
        DataError: there is no such video, or the tracks are of another one.
        ItemError: it cannot be decoded as far as that.

    Source: ours.
    """
    times = video_clock(list(tracks.values()))[1]
    shift = min(float(times[0]), 0.0)  # a file cannot hold what is before 0 s
    samples, start = _sound(audio, shift, float(ends(times)[-1]))
    write_video(path, _Overlay(uri, tracks, name), times - shift, samples, audio_start=start, crf=21, preset="veryfast")


def _picture(number: int, frame: Frame, size: tuple[int, int]) -> Picture:
    larger = size[0] > frame.width
    rgb = cv2.resize(frame.rgb(), size, interpolation=cv2.INTER_CUBIC) if larger else frame.resized(*size)
    return Picture(number, rgb, (size[0] / frame.width, size[1] / frame.height))


def _check(uri: str, frame: Frame, time: float) -> None:
    if abs(frame.time - time) > _SAME:
        raise DataError(f"{uri}: frame {frame.number} is at {frame.time:.3f} s, the rows say {time:.3f} s; they are of another video")


def _sound(audio: Audio | None, shift: float, end: float) -> tuple[Float32[np.ndarray, " samples"] | None, float]:
    """The samples from the first picture's file time to the last one's, and when they begin."""
    if audio is None or not len(audio.samples):
        return None, 0.0
    before = max(round((shift - audio.start) * RATE), 0)
    after = max(round((end - audio.start) * RATE), before)
    return audio.samples[before:after], max(audio.start - shift, 0.0)


class _Overlay:
    """The pictures of the overlay, one after the other."""

    def __init__(self, uri: str, tracks: Mapping[str, Track], name: str) -> None:
        self.uri, self.tracks, self.track = uri, list(tracks.values()), tracks[name]
        self.gaps = gaps_of(self.track)
        frames, self.times = video_clock(self.tracks)
        self.clock = dict(zip(frames.tolist(), self.times.tolist(), strict=True))

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        size = panel = None
        for frame in decode(self.uri, max_frames=max(self.clock)):
            if frame.number not in self.clock:
                continue
            _check(self.uri, frame, self.clock[frame.number])
            if size is None:
                width = 2 * round(min(max(frame.width, _WIDTHS[0]), _WIDTHS[1]) / 2)
                size = (width, 2 * round(width * frame.height / frame.width / 2))
                panel, axis = self._panel(width, self.times)
            yield np.vstack([draw_people(_picture(frame.number, frame, size), self.tracks, self.track.name)[0], self._said(panel, axis, frame)])

    def _panel(self, width: int, times: Float[np.ndarray, " frames"]) -> tuple[UInt8[np.ndarray, "height width 3"], Axis]:
        axis = Axis(left=_SIDE, right=width - _SIDE, start=float(times[0]), stop=float(ends(times)[-1]))
        canvas = Canvas(width, _PANEL)
        canvas.fill((0, 0, width, _PANEL), INK)
        draw_bar(canvas, self.track, axis, 32, 14)
        return np.asarray(canvas.image), axis

    def _said(self, panel: UInt8[np.ndarray, "height width 3"], axis: Axis, frame: Frame) -> UInt8[np.ndarray, "height width 3"]:
        canvas, row = Canvas(0, 0, panel), self.track.at(frame.number)
        width = panel.shape[1]
        used = canvas.text(_SIDE, 8, f"{clock_text(frame.time)}   #{frame.number:,}", 14, PAPER, width=width / 2, bold=True)
        if row is None:
            text, colour = f"{self.track.name}: not here", PAPER
        elif not self.track.seen[row]:
            gap = next(gap for gap in self.gaps if gap.first <= frame.number <= gap.last)
            text, colour = f"{self.track.name}: not seen {gap_text(gap)}", (255, 150, 136)
            canvas.fill((0, 0, width, 3), WARNING)
        else:
            score = self.track.score[row]
            text, colour = f"{self.track.name}: {STATES[self.track.state[row]]}" + ("" if np.isnan(score) else f" {score:.2f}"), PAPER
        canvas.text(width - _SIDE, 8, text, 14, colour, width=width - 2 * _SIDE - used - 20, align="r")
        x = axis.x(frame.time)
        canvas.fill((x - 1, 28, x + 2, 50), PAPER)
        return np.asarray(canvas.image)
