"""One track of a video -> a contact sheet: a timeline of its states, whole frames with the boxes of all people, and evenly spaced chips.

Rows, chips and frames are passed in memory; no file is opened. Frames without a face are hatched.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.frame_times import frame_ends
from abaw_ray.report.tracks.canvas import FAINT, INK, MUTED, PAPER, STATE_COLORS, WARNING, Canvas, font, format_time
from abaw_ray.report.tracks.frame_images import FrameImage, draw_people
from abaw_ray.report.tracks.timeline_bar import Axis, draw_axis, draw_gaps, draw_timeline_bar
from abaw_ray.report.tracks.track import STATES, Track, bin_centers, evenly_spaced, find_gaps, frame_times

Chips = Mapping[int, UInt8[np.ndarray, "side side 3"]]
"""RGB chips by frame number."""
_MARGIN, _GUTTER, _SPACE = 28, 124, 10
"""Pixels of the outer margin, of the column of names beside the bars, and between images."""
_CELL, _CAPTION = 150, 46
"""Pixels of a chip's side on the sheet, and of its caption."""
_MIN_WIDTH = 900
"""Pixels: minimum width between the margins."""
_MAX_OTHERS = 5
"""Maximum number of bars of other people; those with the most rows are shown."""
_BAR, _THIN = 34, 10
"""Pixels: heights of the bars of this track and of the others."""
_IMAGE_HEIGHT, _MAX_IMAGE_HEIGHT = 190, 330
"""Pixels: target and maximum height of whole frames."""


@dataclass(frozen=True, kw_only=True)
class SheetConfig:
    """Number of chips on a contact sheet."""

    columns: int = 8
    """Chips in a row. Default ours."""
    rows: int = 6
    """Rows of chips. Default ours."""

    def __post_init__(self) -> None:
        """Refuse sheets without chips and sheets too large to view."""
        if not (1 <= self.columns <= 40 and 1 <= self.rows <= 100):
            raise ConfigError(f"columns={self.columns} must be 1 to 40 and rows={self.rows} 1 to 100")

    @property
    def inner(self) -> int:
        """Pixels between the margins."""
        return max(_MIN_WIDTH, self.columns * (_CELL + _SPACE) - _SPACE)


def chip_frames(track: Track, config: SheetConfig) -> Int[np.ndarray, " chosen"]:
    """Return the frames whose chips are shown: evenly spaced, including the first and the last."""
    return track.frame[evenly_spaced(len(track.frame), config.columns * config.rows)]


def image_frames(track: Track, config: SheetConfig, aspect: float) -> Int[np.ndarray, " chosen"]:
    """Return the frames that are shown whole, evenly spaced: as many as fit in a row at this aspect ratio (width / height)."""
    return track.frame[bin_centers(len(track.frame), _image_layout(config.inner, aspect)[0])]


def image_size(config: SheetConfig, aspect: float) -> tuple[int, int]:
    """Return width and height in pixels at which whole frames are shown."""
    return _image_layout(config.inner, aspect)[1]


def draw_sheet(
    tracks: Mapping[str, Track],
    name: str,
    chips: Mapping[int, UInt8[np.ndarray, "side side 3"]],
    images: list[FrameImage],
    config: SheetConfig,
    note: str,
) -> Canvas:
    """Draw the contact sheet of one track.

    Args:
        tracks: All tracks of the video.
        name: The track that is shown.
        chips: Chips of ``chip_frames``; a frame with a face and without a chip is gray.
        images: Images of ``image_frames``, at ``image_size``.
        config: Number of chips.
        note: A further message, for example that the video is damaged; may be empty.
    """
    track = tracks[name]
    canvas = Canvas(config.inner + 2 * _MARGIN, 1400 + config.rows * (_CELL + _CAPTION + 2 * _SPACE))
    y = _draw_title(canvas, track, len(tracks), config, note)
    y = _draw_legend(canvas, track, y + 14)
    y = _draw_bars(canvas, tracks, track, config, y + 12)
    if images:
        y = _draw_images(canvas, tracks, track, images, config, y + 22)
    y = _draw_chips(canvas, track, chips, config, y + 22)
    canvas.image = canvas.crop(y + _MARGIN - _SPACE)
    return canvas


def _draw_title(canvas: Canvas, track: Track, tracks: int, config: SheetConfig, note: str) -> float:
    canvas.text(_MARGIN, _MARGIN, track.video, 24, width=config.inner, bold=True)
    seen, gaps = int(track.seen.sum()), len(find_gaps(track))
    facts = [
        f"track {track.name}" + (f" (one of {tracks})" if tracks > 1 else ""),
        f"{len(track.frame):,} frames, {track.frame[0]:,} to {track.frame[-1]:,}",
        f"{format_time(track.time[0])} to {format_time(frame_ends(track.time)[-1])}",
        f"face seen in {seen:,} frames, {seen / len(track.frame):.1%}",
        f"{gaps:,} gap{'' if gaps == 1 else 's'}",
    ]
    y = canvas.paragraph(
        _MARGIN, _MARGIN + 36, "  ·  ".join(fact.replace(" ", "\N{NO-BREAK SPACE}") for fact in facts), 14, MUTED, width=config.inner
    )
    return canvas.paragraph(_MARGIN, y + 2, note, 14, WARNING, width=config.inner) if note else y


def _draw_legend(canvas: Canvas, track: Track, top: float) -> float:
    x, counts = float(_MARGIN), track.counts()
    for state in (*STATES[1:], STATES[0]):
        if state not in counts:
            continue
        if state == STATES[0]:
            canvas.hatch((x, top, x + 18, top + 18))
        else:
            _draw_badge(canvas, state, x, top)
        share = counts[state] / len(track.frame)
        x += 26 + canvas.text(x + 26, top + 1, f"{state} {counts[state]:,} ({share:.1%})", 13, width=300) + 26
    return top + 18


def _draw_badge(canvas: Canvas, state: str, x: float, y: float) -> None:
    """Draw the first letter of a source on its color."""
    canvas.fill((x, y, x + 18, y + 18), STATE_COLORS[state])
    dark_text = state == "interpolated"
    canvas.text(x + 9, y + 2, state[0].upper(), 12, INK if dark_text else PAPER, width=18, bold=True, align="m")


def _draw_bars(canvas: Canvas, tracks: Mapping[str, Track], track: Track, config: SheetConfig, top: float) -> float:
    times = frame_times(list(tracks.values()))[1]
    axis = Axis(left=_MARGIN + _GUTTER, right=_MARGIN + config.inner, start=float(times[0]), stop=float(frame_ends(times)[-1]))
    others = sorted((other for other in tracks.values() if other is not track), key=lambda other: -len(other.frame))
    for other in others[:_MAX_OTHERS]:
        canvas.text(_MARGIN + _GUTTER - 10, top, other.name, 12, MUTED, width=_GUTTER - 10, align="r")
        draw_timeline_bar(canvas, other, axis, top + 3, _THIN)
        top += 19
    if len(others) > _MAX_OTHERS:
        canvas.text(_MARGIN + _GUTTER, top, f"and {len(others) - _MAX_OTHERS:,} people with fewer frames", 12, MUTED, width=config.inner - _GUTTER)
        top += 19
    top = draw_axis(canvas, axis, top + 4)
    canvas.text(_MARGIN + _GUTTER - 10, top + 8, track.name, 14, width=_GUTTER - 10, bold=True, align="r")
    draw_timeline_bar(canvas, track, axis, top, _BAR)
    return draw_gaps(canvas, find_gaps(track), axis, top + _BAR)


def _image_layout(inner: int, aspect: float) -> tuple[int, tuple[int, int]]:
    """Return how many whole frames fit in a row, and their width and height."""
    count = max(min(round((inner + _SPACE) / (_IMAGE_HEIGHT * aspect + _SPACE)), (inner + _SPACE) // (_CELL + _SPACE)), 3)
    width = (inner + _SPACE) / count - _SPACE
    scale = min(1.0, _MAX_IMAGE_HEIGHT / (width / aspect))
    return count, (max(int(width * scale), 2), max(int(width / aspect * scale), 2))


def _draw_images(canvas: Canvas, tracks: Mapping[str, Track], track: Track, images: list[FrameImage], config: SheetConfig, top: float) -> float:
    canvas.text(_MARGIN, top, "Whole frames, with the boxes of all people", 15, width=config.inner, bold=True)
    top, below = top + 28, top
    spacing = (config.inner + _SPACE) / len(images)
    for index, image in enumerate(images):
        x, row = _MARGIN + index * spacing, track.at(image.frame)
        assert row is not None, "images are of frames of the track"
        drawn, labels = draw_people(image, tracks.values(), track.name)
        canvas.image.paste(Image.fromarray(drawn), (round(x), round(top)))
        canvas.texts += [(text, (a + round(x), b + round(top), c + round(x), d + round(top))) for text, (a, b, c, d) in labels]
        y, width = top + len(drawn) + 5, spacing - _SPACE
        _draw_timestamp(canvas, track, row, x, y, width)
        state = STATES[track.state[row]]
        canvas.text(x, y + 17, state, 12, WARNING if state == STATES[0] else MUTED, width=width)
        below = max(below, y + 34)
    return below


def _draw_chips(canvas: Canvas, track: Track, chips: Chips, config: SheetConfig, top: float) -> float:
    frames = chip_frames(track, config)
    selection = "every frame" if len(frames) == len(track.frame) else f"{len(frames)} of {len(track.frame):,} frames, evenly spaced"
    canvas.text(_MARGIN, top, f"Chips: {selection}", 15, width=config.inner, bold=True)
    top += 28
    for at, frame in enumerate(frames.tolist()):
        row, column = divmod(at, config.columns)
        _draw_cell(canvas, track, frame, chips.get(frame), _MARGIN + column * (_CELL + _SPACE), top + row * (_CELL + _CAPTION + _SPACE))
    return top + -(-len(frames) // config.columns) * (_CELL + _CAPTION + _SPACE)


def _draw_cell(canvas: Canvas, track: Track, frame: int, chip: np.ndarray | None, x: float, y: float) -> None:
    row = track.at(frame)
    assert row is not None, "chips are of frames of the track"
    state, box = STATES[track.state[row]], (x, y, x + _CELL, y + _CELL)
    if not track.seen[row]:
        canvas.hatch(box)
    elif chip is None:
        canvas.fill(box, FAINT)
    else:
        canvas.paste(chip, box)
    if not track.seen[row] or chip is None:
        text = "not seen" if not track.seen[row] else "no chip kept"
        half = font(13).getlength(text) / 2 + 8
        canvas.fill((x + _CELL / 2 - half, y + _CELL / 2 - 12, x + _CELL / 2 + half, y + _CELL / 2 + 12), PAPER)
        canvas.text(x + _CELL / 2, y + _CELL / 2 - 8, text, 13, WARNING, width=_CELL, align="m")
    _draw_timestamp(canvas, track, row, x, y + _CELL + 5, _CELL)
    if track.seen[row]:
        _draw_badge(canvas, state, x, y + _CELL + 23)
        canvas.text(x + 24, y + _CELL + 24, state, 12, MUTED, width=_CELL - 70)
        score = track.score[row]
        canvas.text(x + _CELL, y + _CELL + 24, "–" if np.isnan(score) else f"{score:.2f}", 12, width=44, align="r")


def _draw_timestamp(canvas: Canvas, track: Track, row: int, x: float, y: float, width: float) -> None:
    """Draw the number and the time of a frame below its image."""
    number_width = canvas.text(x, y, f"#{track.frame[row]:,}", 12, width=width / 2, bold=True)
    canvas.text(x + width, y, format_time(track.time[row]), 12, MUTED, width=width - number_width - 6, align="r")
