"""One track of a video -> a contact sheet: what is known of every moment, whole pictures with everybody's boxes, and chips evenly spaced.

Takes rows, chips and pictures that were read already; it opens no file. Frames without a face are shown as what they are: hatched.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from abaw_ray.core.errors import ConfigError
from abaw_ray.report.tracks.bar import Axis, draw_axis, draw_bar, draw_gaps
from abaw_ray.report.tracks.canvas import FAINT, INK, PAPER, QUIET, STATE_COLOURS, WARNING, Canvas, clock_text, font
from abaw_ray.report.tracks.pictures import Picture, draw_people
from abaw_ray.report.tracks.rows import STATES, Track, ends, gaps_of, middles, spread, video_clock

Chips = Mapping[int, UInt8[np.ndarray, "side side 3"]]
"""RGB by frame."""
_MARGIN, _GUTTER, _SPACE = 28, 124, 10
"""Pixels around everything, beside the bars for names, between pictures."""
_CELL, _CAPTION = 150, 46
"""Pixels of a chip's side on the sheet, and of what is written below it."""
_NARROWEST = 900
"""Pixels: the least width, whatever the number of columns."""
_OTHERS = 5
"""Bars of other people, those with the most rows."""
_BAR, _THIN = 34, 10
"""Pixels: heights of the bars of this track and of the others."""
_PICTURE, _TALLEST = 190, 330
"""Pixels: height of whole pictures that is aimed at, and the most."""


@dataclass(frozen=True, kw_only=True)
class SheetConfig:
    """How many chips are shown."""

    columns: int = 8
    """Chips in a row. Ours."""
    rows: int = 6
    """Rows of chips. Ours."""

    def __post_init__(self) -> None:
        """Refuse sheets that nobody could look at."""
        if not (1 <= self.columns <= 40 and 1 <= self.rows <= 100):
            raise ConfigError(f"columns={self.columns} must be 1 to 40 and rows={self.rows} 1 to 100")

    @property
    def inner(self) -> int:
        """Pixels between the margins."""
        return max(_NARROWEST, self.columns * (_CELL + _SPACE) - _SPACE)


def chip_frames(track: Track, config: SheetConfig) -> Int[np.ndarray, " chosen"]:
    """The frames whose chips are shown: evenly spaced, the first and the last among them."""
    return track.frame[spread(len(track.frame), config.columns * config.rows)]


def picture_frames(track: Track, config: SheetConfig, aspect: float) -> Int[np.ndarray, " chosen"]:
    """The frames that are shown as whole pictures of this width to height: as many as fit beside one another, evenly spaced."""
    return track.frame[middles(len(track.frame), _pictures(config.inner, aspect)[0])]


def picture_size(config: SheetConfig, aspect: float) -> tuple[int, int]:
    """Width and height in pixels at which whole pictures are shown."""
    return _pictures(config.inner, aspect)[1]


def draw_sheet(
    tracks: Mapping[str, Track],
    name: str,
    chips: Mapping[int, UInt8[np.ndarray, "side side 3"]],
    pictures: list[Picture],
    config: SheetConfig,
    note: str,
) -> Canvas:
    """Draw the contact sheet of one track.

    Args:
        tracks: All tracks of the video.
        name: Which of them.
        chips: Those of ``chip_frames``; a frame with a face and no chip is shown grey.
        pictures: Of ``picture_frames``, at ``picture_size``.
        config: How many chips.
        note: What else has to be said, for example that the video breaks; may be empty.
    """
    track = tracks[name]
    canvas = Canvas(config.inner + 2 * _MARGIN, 1400 + config.rows * (_CELL + _CAPTION + 2 * _SPACE))
    y = _title(canvas, track, len(tracks), config, note)
    y = _legend(canvas, track, y + 14)
    y = _bars(canvas, tracks, track, config, y + 12)
    if pictures:
        y = _strip(canvas, tracks, track, pictures, config, y + 22)
    y = _grid(canvas, track, chips, config, y + 22)
    canvas.image = canvas.cut(y + _MARGIN - _SPACE)
    return canvas


def _title(canvas: Canvas, track: Track, tracks: int, config: SheetConfig, note: str) -> float:
    canvas.text(_MARGIN, _MARGIN, track.video, 24, width=config.inner, bold=True)
    seen, gaps = int(track.seen.sum()), len(gaps_of(track))
    facts = [
        f"track {track.name}" + (f" (one of {tracks})" if tracks > 1 else ""),
        f"{len(track.frame):,} frames, {track.frame[0]:,} to {track.frame[-1]:,}",
        f"{clock_text(track.time[0])} to {clock_text(ends(track.time)[-1])}",
        f"face seen in {seen:,} frames, {seen / len(track.frame):.1%}",
        f"{gaps:,} gap{'' if gaps == 1 else 's'}",
    ]
    y = canvas.paragraph(
        _MARGIN, _MARGIN + 36, "  ·  ".join(fact.replace(" ", "\N{NO-BREAK SPACE}") for fact in facts), 14, QUIET, width=config.inner
    )
    return canvas.paragraph(_MARGIN, y + 2, note, 14, WARNING, width=config.inner) if note else y


def _legend(canvas: Canvas, track: Track, top: float) -> float:
    x, counts = float(_MARGIN), track.counts()
    for state in (*STATES[1:], STATES[0]):
        if state not in counts:
            continue
        if state == STATES[0]:
            canvas.hatch((x, top, x + 18, top + 18))
        else:
            _badge(canvas, state, x, top)
        share = counts[state] / len(track.frame)
        x += 26 + canvas.text(x + 26, top + 1, f"{state} {counts[state]:,} ({share:.1%})", 13, width=300) + 26
    return top + 18


def _badge(canvas: Canvas, state: str, x: float, y: float) -> None:
    """The first letter of a source on its colour."""
    canvas.fill((x, y, x + 18, y + 18), STATE_COLOURS[state])
    dark = state == "interpolated"
    canvas.text(x + 9, y + 2, state[0].upper(), 12, INK if dark else PAPER, width=18, bold=True, align="m")


def _bars(canvas: Canvas, tracks: Mapping[str, Track], track: Track, config: SheetConfig, top: float) -> float:
    times = video_clock(list(tracks.values()))[1]
    axis = Axis(left=_MARGIN + _GUTTER, right=_MARGIN + config.inner, start=float(times[0]), stop=float(ends(times)[-1]))
    others = sorted((other for other in tracks.values() if other is not track), key=lambda other: -len(other.frame))
    for other in others[:_OTHERS]:
        canvas.text(_MARGIN + _GUTTER - 10, top, other.name, 12, QUIET, width=_GUTTER - 10, align="r")
        draw_bar(canvas, other, axis, top + 3, _THIN)
        top += 19
    if len(others) > _OTHERS:
        canvas.text(_MARGIN + _GUTTER, top, f"and {len(others) - _OTHERS:,} people with fewer frames", 12, QUIET, width=config.inner - _GUTTER)
        top += 19
    top = draw_axis(canvas, axis, top + 4)
    canvas.text(_MARGIN + _GUTTER - 10, top + 8, track.name, 14, width=_GUTTER - 10, bold=True, align="r")
    draw_bar(canvas, track, axis, top, _BAR)
    return draw_gaps(canvas, gaps_of(track), axis, top + _BAR)


def _pictures(inner: int, aspect: float) -> tuple[int, tuple[int, int]]:
    """How many whole pictures fit beside one another, and their width and height."""
    count = max(min(round((inner + _SPACE) / (_PICTURE * aspect + _SPACE)), (inner + _SPACE) // (_CELL + _SPACE)), 3)
    width = (inner + _SPACE) / count - _SPACE
    scale = min(1.0, _TALLEST / (width / aspect))
    return count, (max(int(width * scale), 2), max(int(width / aspect * scale), 2))


def _strip(canvas: Canvas, tracks: Mapping[str, Track], track: Track, pictures: list[Picture], config: SheetConfig, top: float) -> float:
    canvas.text(_MARGIN, top, "Whole pictures, with everybody's boxes", 15, width=config.inner, bold=True)
    top, below = top + 28, top
    slot = (config.inner + _SPACE) / len(pictures)
    for at, picture in enumerate(pictures):
        x, row = _MARGIN + at * slot, track.at(picture.frame)
        drawn, labels = draw_people(picture, tracks.values(), track.name)
        canvas.image.paste(Image.fromarray(drawn), (round(x), round(top)))
        canvas.texts += [(text, (a + round(x), b + round(top), c + round(x), d + round(top))) for text, (a, b, c, d) in labels]
        y, width = top + len(drawn) + 5, slot - _SPACE
        _moment(canvas, track, row, x, y, width)
        state = STATES[track.state[row]]
        canvas.text(x, y + 17, state, 12, WARNING if state == STATES[0] else QUIET, width=width)
        below = max(below, y + 34)
    return below


def _grid(canvas: Canvas, track: Track, chips: Chips, config: SheetConfig, top: float) -> float:
    frames = chip_frames(track, config)
    every = "every frame" if len(frames) == len(track.frame) else f"{len(frames)} of {len(track.frame):,} frames, evenly spaced"
    canvas.text(_MARGIN, top, f"Chips: {every}", 15, width=config.inner, bold=True)
    top += 28
    for at, frame in enumerate(frames.tolist()):
        line, place = divmod(at, config.columns)
        _cell(canvas, track, frame, chips.get(frame), _MARGIN + place * (_CELL + _SPACE), top + line * (_CELL + _CAPTION + _SPACE))
    return top + -(-len(frames) // config.columns) * (_CELL + _CAPTION + _SPACE)


def _cell(canvas: Canvas, track: Track, frame: int, chip: np.ndarray | None, x: float, y: float) -> None:
    row = track.at(frame)
    state, box = STATES[track.state[row]], (x, y, x + _CELL, y + _CELL)
    if not track.seen[row]:
        canvas.hatch(box)
    elif chip is None:
        canvas.fill(box, FAINT)
    else:
        canvas.paste(chip, box)
    if not track.seen[row] or chip is None:
        said = "not seen" if not track.seen[row] else "no chip kept"
        half = font(13).getlength(said) / 2 + 8
        canvas.fill((x + _CELL / 2 - half, y + _CELL / 2 - 12, x + _CELL / 2 + half, y + _CELL / 2 + 12), PAPER)
        canvas.text(x + _CELL / 2, y + _CELL / 2 - 8, said, 13, WARNING, width=_CELL, align="m")
    _moment(canvas, track, row, x, y + _CELL + 5, _CELL)
    if track.seen[row]:
        _badge(canvas, state, x, y + _CELL + 23)
        canvas.text(x + 24, y + _CELL + 24, state, 12, QUIET, width=_CELL - 70)
        score = track.score[row]
        canvas.text(x + _CELL, y + _CELL + 24, "–" if np.isnan(score) else f"{score:.2f}", 12, width=44, align="r")


def _moment(canvas: Canvas, track: Track, row: int, x: float, y: float, width: float) -> None:
    """Number and time of a frame below its picture."""
    number = canvas.text(x, y, f"#{track.frame[row]:,}", 12, width=width / 2, bold=True)
    canvas.text(x + width, y, clock_text(track.time[row]), 12, QUIET, width=width - number - 6, align="r")
