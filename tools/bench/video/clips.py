"""A folder of real clips -> test videos of a stated size and encoding: one real face of a stated height, before a room that moves with it.

The room is made of the clip's own strips beside the face, mirrored until the picture is full: camera material at the face's own scale, with its
grain and the camera's motion. (Of another clip, enlarged, there is too little to decode.) Where the face stands in each frame is known.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from abaw_ray.core.errors import AbawError, DataError
from abaw_ray.faces.detection.detect import Detector
from abaw_ray.media.video import decode

RATE = 30
"""Frames a second of the videos made."""
CRF = 23
"""libx264's own default."""
_SEARCHED = 640
"""Pixels: width at which faces are looked for in the clips."""
_SURE, _DOUBT = 0.6, 0.3
"""Score of the one face, and the least one of a second face that spoils the frame."""
_LONGEST = 300
"""Frames of a clip that are used at most: they are held in memory."""
_HAIR = 0.35
"""A strip keeps this far from the face's box, in units of its width."""
_CLEAR = 0.9
"""A strip ends this far down the picture, in units of where the face's box ends: shoulders follow."""
_PLACE = 0.72
"""Centre of the large face, in units of the picture's height from its top: low, so that there is little to make up below the clip, and high
enough for the whole chip to be in the picture."""
_NARROW = 0.05
"""Strips below this share of the clip's width are of no use."""

Way = Callable[[float], tuple[float, float] | None]
"""Seconds -> centre of a face in pixels, None while it is not in the picture."""


@dataclass(frozen=True, eq=False)
class Subject:
    """Neighbouring frames of a clip that show one face."""

    pictures: list[np.ndarray]
    """RGB."""
    boxes: np.ndarray
    """``frames 4``, x0 y0 x1 y1 in their pixels."""
    clip: str

    @property
    def height(self) -> float:
        """Pixels: of the face's box, median."""
        return float(np.median(self.boxes[:, 3] - self.boxes[:, 1]))

    def at(self, moment: int) -> int:
        """The frame for a moment: forth and back, so that nothing jumps."""
        period = max(2 * (len(self.pictures) - 1), 1)
        return min(moment % period, period - moment % period)

    @property
    def strips(self) -> tuple[slice, slice]:
        """Columns left and right of the face; twice the same where the other is too narrow.

        Raises:
            DataError: both are.
        """
        wide, margin = self.pictures[0].shape[1], _HAIR * float(np.median(self.boxes[:, 2] - self.boxes[:, 0]))
        sides = slice(0, max(int(self.boxes[:, 0].min() - margin), 0)), slice(min(int(self.boxes[:, 2].max() + margin) + 1, wide), wide)
        good = [side for side in sides if side.stop - side.start >= max(_NARROW * wide, 2)]
        if not good:
            raise DataError(f"{self.clip}: the face is as wide as the picture; give a clip with something beside it")
        return good[0], good[-1]


def find_subject(folder: Path, detector: Detector) -> Subject:
    """The longest stretch of one-face frames in a folder of clips; of two as long the one with the larger face.

    Raises:
        DataError: there is none.
    """
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        try:
            found.append(_longest(path, detector))
        except AbawError:
            continue  # no video
    best = max(found, key=lambda subject: (len(subject.pictures), subject.height) if subject.pictures else (0, 0), default=None)
    if best is None or not best.pictures:
        raise DataError(f"{folder}: no clip there shows one face; give a folder of videos of which one does")
    return best


def _longest(path: Path, detector: Detector) -> Subject:
    runs: list[list[tuple[np.ndarray, np.ndarray]]] = [[]]
    for frame in decode(str(path)):
        zoom = max(frame.width / _SEARCHED, 1)
        faces = detector(frame.scaled(round(frame.width / zoom / 2) * 2, round(frame.height / zoom / 2) * 2), 16)
        faces = [face for face in faces if face.score >= _DOUBT]
        if len(faces) == 1 and faces[0].score >= _SURE and len(runs[-1]) < _LONGEST:
            runs[-1].append((frame.rgb(), faces[0].box * zoom))
        elif runs[-1]:
            runs = [max(runs, key=len), []]
    best = max(runs, key=len)
    return Subject([picture for picture, _ in best], np.array([box for _, box in best]).reshape(-1, 4), str(path))


def portrait(subject: Subject, size: tuple[int, int], share: float, moment: int) -> tuple[np.ndarray, np.ndarray]:
    """One picture of ``size`` (width, height) with the face ``share`` of its height high, and the face's box in it."""
    (wide, high), zoom = size, share * size[1] / subject.height
    clip, box = _zoomed(subject, moment, zoom)
    middle = np.median(subject.boxes[:, :2] + subject.boxes[:, 2:], axis=0) / 2 * zoom
    chest = (len(clip) - subject.boxes[:, 3].max() * zoom) / 3
    more = round(float(np.clip(high - _PLACE * high + middle[1] - len(clip), 0, 3 * chest)))
    clip = clip[_folded(np.arange(len(clip) + more), min(len(clip) - int(chest), len(clip) - 1), len(clip), above=True)]
    rows, columns = clip.shape[:2]
    left = (wide - columns) // 2 if columns <= wide else round(float(np.clip(wide / 2 - middle[0], wide - columns, 0)))
    top = high - rows if rows <= high else round(float(np.clip(_PLACE * high - middle[1], high - rows, 0)))
    picture = np.zeros((high, wide, 3), np.uint8) if columns >= wide and rows >= high else room(subject, size, zoom, moment, (left, top))
    _paste(picture, clip, left, top, soft=max(rows // 16, 1))
    return picture, box + np.array([left, top, left, top])


def crowd(subject: Subject, size: tuple[int, int], height: float, paths: list[Way], moment: int) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """One picture of ``size`` with faces of this height in pixels, each with some of its surroundings, on their paths; and their boxes."""
    picture, boxes = room(subject, size, 1.0, moment, (0, 0)), []
    for path in paths:
        place = path(moment / RATE)
        if place is None:
            boxes.append(None)
            continue
        clip, box = _zoomed(subject, moment, height / subject.height)
        left, top = round(float(place[0] - (box[0] + box[2]) / 2)), round(float(place[1] - (box[1] + box[3]) / 2))
        _paste(picture, clip, left, top, soft=max(len(clip) // 10, 1))
        boxes.append(box + np.array([left, top, left, top]))
    return picture, boxes


def room(subject: Subject, size: tuple[int, int], zoom: float, moment: int, corner: tuple[int, int]) -> np.ndarray:
    """A picture of the strips alone; where the clip's upper left corner lies at ``corner``, the room goes on where the clip ends."""
    clip, _ = _zoomed(subject, moment, zoom)
    (rows, columns), (left, right) = clip.shape[:2], subject.strips
    clear = max(min(round(_CLEAR * float(np.median(subject.boxes[:, 3])) * zoom), rows), 2)
    y = _folded(np.arange(size[1]) - corner[1], 0, clear)
    x = np.arange(size[0]) - corner[0]
    near, far = (_folded(x, *_ends(side, zoom, columns)) for side in (left, right))
    turn = (left.stop + right.start) / 2 * zoom if left != right else columns / 2
    share = np.clip((x - turn) / max(columns / 16, 1) + 0.5, 0, 1).astype(np.float32)
    picture, mixed = _taken(clip, y, np.where(share < 0.5, near, far)), np.flatnonzero((share > 0) & (share < 1))
    both = _taken(clip, y, near[mixed]) * (1 - share[mixed, None]) + _taken(clip, y, far[mixed]) * share[mixed, None]
    picture[:, mixed] = (both + 0.5).astype(np.uint8)
    return picture


def _taken(picture: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """``picture[rows][:, columns]``, several times as quick."""
    x, y = np.meshgrid(columns.astype(np.float32), np.arange(rows.max() + 1, dtype=np.float32))
    return cv2.remap(picture, x, y, cv2.INTER_NEAREST)[rows]


def _ends(side: slice, zoom: float, columns: int) -> tuple[int, int]:
    low, high = min(round(side.start * zoom), columns - 2), min(round(side.stop * zoom), columns)
    return low, max(high, low + 2)


def _folded(place: np.ndarray, low: int, high: int, *, above: bool = False) -> np.ndarray:
    """Places outside ``low`` to ``high - 1`` mirrored into it; with ``above`` only those from ``high`` on."""
    many = high - low
    within = np.mod(place - low, 2 * many)
    folded = low + np.where(within < many, within, 2 * many - 1 - within)
    return np.where(place < high, place, folded) if above else folded


def _zoomed(subject: Subject, moment: int, zoom: float) -> tuple[np.ndarray, np.ndarray]:
    index = subject.at(moment)
    picture, box = subject.pictures[index], subject.boxes[index]
    rows, columns = (max(round(side * zoom), 2) for side in picture.shape[:2])
    if (rows, columns) != picture.shape[:2]:
        picture = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
    return picture, box * zoom


def _paste(picture: np.ndarray, clip: np.ndarray, left: int, top: int, *, soft: int) -> None:
    """Put a clip into a picture; its edges fade over ``soft`` pixels, but for those at the picture's own."""
    (high, wide), (rows, columns) = picture.shape[:2], clip.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + columns, wide), min(top + rows, high)
    if x1 <= x0 or y1 <= y0:
        return
    x, y = np.arange(x0, x1)[None, :, None], np.arange(y0, y1)[:, None, None]
    far = np.full((1, 1, 1), np.inf)
    inside = [x - left + 1 if left > 0 else far, left + columns - x if left + columns < wide else far]
    inside += [y - top + 1 if top > 0 else far, top + rows - y if top + rows < high else far]
    share = np.ones(1, np.float32)
    for distance in inside:
        share = share * np.clip(distance / (soft + 1), 0, 1).astype(np.float32)
    here = picture[y0:y1, x0:x1]
    here[:] = (clip[y0 - top : y1 - top, x0 - left : x1 - left] * share + here * (1 - share) + 0.5).astype(np.uint8)


def grained(pictures: Iterable[np.ndarray], deviation: float, seed: int = 0) -> Iterator[np.ndarray]:
    """The pictures with the noise of a sensor in their brightness: so many levels, standard deviation, new in every picture."""
    rng, noise = np.random.default_rng(seed), None
    for picture in pictures:
        if noise is None:
            noise = (rng.standard_normal((picture.shape[0] + 64, picture.shape[1] + 64, 1)) * deviation).astype(np.float32)
        down, across = rng.integers(0, 64, 2)
        part = noise[down : down + picture.shape[0], across : across + picture.shape[1]]
        yield np.clip(picture + part + 0.5, 0, 255).astype(np.uint8)


def encode(path: Path, pictures: Iterable[np.ndarray], preset: str = "medium") -> Path:
    """Write RGB pictures as H.264 at ``RATE``: libx264 with this preset, crf 23 and all its other defaults."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": preset, "crf": str(CRF)})
        stream.pix_fmt, stream.codec_context.thread_count = "yuv420p", 0  # as many as there are cores
        for number, picture in enumerate(pictures):
            if not number:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def lengthen(source: Path, target: Path, seconds: float) -> Path:
    """The same coded pictures again and again, until the video is at least so long; nothing is encoded."""
    stream, length = None, 0
    with av.open(str(target), "w") as out:
        while stream is None or length * stream.time_base < seconds:
            with av.open(str(source)) as container:
                video = container.streams.video[0]
                stream = stream or out.add_stream_from_template(video)
                for packet in container.demux(video):
                    if packet.dts is not None:  # the last one is empty
                        packet.pts, packet.dts, packet.stream = packet.pts + length, packet.dts + length, stream
                        out.mux(packet)
                length += video.duration
    return target
