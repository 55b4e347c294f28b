"""Test videos of a given size and encoding, made from real clips: real faces of a given height at known positions.

The background consists of the clip's own strips beside the face, mirrored until the frame is full: camera material at the face's scale, with its
sensor noise and camera motion. (An enlarged background from another clip has too little detail to decode.)
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
"""Frames per second of the test videos."""
CRF = 23
"""libx264's default."""
_DETECTION_WIDTH = 640
"""Width in pixels at which faces are detected in the clips."""
_MIN_SCORE, _SECOND_FACE_SCORE = 0.6, 0.3
"""Minimum score of the face, and of a second face whose presence excludes the frame."""
_MAX_FRAMES = 300
"""Maximum number of frames taken from a clip; they are held in memory."""
_HAIR_MARGIN = 0.35
"""Distance of a strip from the face's box, in box widths, so that the strip shows no hair."""
_ABOVE_SHOULDERS = 0.9
"""Lower end of a strip, as a fraction of the y of the box's lower end, so that the strip shows no shoulders."""
_FACE_CENTER_Y = 0.72
"""Vertical center of the large face as a fraction of the frame height: low, so that few rows must be added below the clip, but with the whole chip
inside the frame."""
_MIN_STRIP_WIDTH = 0.05
"""Minimum width of a strip as a share of the clip's width."""

Trajectory = Callable[[float], tuple[float, float] | None]
"""Time in seconds -> center of a face in pixels, None while it is outside the frame."""

Boxes = list[np.ndarray | None]
"""``x0 y0 x1 y1`` in pixels by face, None where a face is outside the frame."""


@dataclass(frozen=True, eq=False)
class Subject:
    """Consecutive frames of a clip that show exactly one face."""

    images: list[np.ndarray]
    """``height width 3``, RGB."""
    boxes: np.ndarray
    """``frames 4``, x0 y0 x1 y1 in pixels."""
    clip: str
    """Path of the clip."""

    @property
    def height(self) -> float:
        """Median height of the face's box in pixels."""
        return float(np.median(self.boxes[:, 3] - self.boxes[:, 1]))

    def source_index(self, index: int) -> int:
        """Return the clip's frame for a frame of a video; the clip plays forwards and backwards in turn, so that there are no jumps."""
        period = max(2 * (len(self.images) - 1), 1)
        return min(index % period, period - index % period)

    @property
    def strips(self) -> tuple[slice, slice]:
        """Column ranges left and right of the face; if one is too narrow, twice the other.

        Raises:
            DataError: both are too narrow.
        """
        width, margin = self.images[0].shape[1], _HAIR_MARGIN * float(np.median(self.boxes[:, 2] - self.boxes[:, 0]))
        sides = slice(0, max(int(self.boxes[:, 0].min() - margin), 0)), slice(min(int(self.boxes[:, 2].max() + margin) + 1, width), width)
        usable = [side for side in sides if side.stop - side.start >= max(_MIN_STRIP_WIDTH * width, 2)]
        if not usable:
            raise DataError(f"{self.clip}: the face is as wide as the frame; use a clip with background beside the face")
        return usable[0], usable[-1]


def find_subject(folder: Path, detector: Detector) -> Subject:
    """Return the longest run of one-face frames in a folder of clips; of equally long ones that with the larger face.

    Raises:
        DataError: no clip has such a frame.
    """
    subjects = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        try:
            subjects.append(_longest_run(path, detector))
        except AbawError:
            continue  # not a video
    best = max(subjects, key=lambda subject: (len(subject.images), subject.height) if subject.images else (0, 0), default=None)
    if best is None or not best.images:
        raise DataError(f"{folder}: no clip shows exactly one face; name a folder of videos with one that does")
    return best


def _longest_run(path: Path, detector: Detector) -> Subject:
    runs: list[list[tuple[np.ndarray, np.ndarray]]] = [[]]
    for frame in decode(str(path)):
        zoom = max(frame.width / _DETECTION_WIDTH, 1)
        faces = detector(frame.resized(round(frame.width / zoom / 2) * 2, round(frame.height / zoom / 2) * 2), 16)
        faces = [face for face in faces if (face.score or 0) >= _SECOND_FACE_SCORE]
        if len(faces) == 1 and (faces[0].score or 0) >= _MIN_SCORE and len(runs[-1]) < _MAX_FRAMES:
            runs[-1].append((frame.rgb(), faces[0].box * zoom))
        elif runs[-1]:
            runs = [max(runs, key=len), []]
    best = max(runs, key=len)
    return Subject([image for image, _ in best], np.array([box for _, box in best]).reshape(-1, 4), str(path))


def portrait(subject: Subject, size: tuple[int, int], share: float, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a frame of ``size`` (width, height) with a face of ``share`` of the frame's height, and the face's box."""
    (frame_width, frame_height), zoom = size, share * size[1] / subject.height
    clip, box = _scaled_frame(subject, index, zoom)
    center = np.median(subject.boxes[:, :2] + subject.boxes[:, 2:], axis=0) / 2 * zoom
    mirrored_rows = (len(clip) - subject.boxes[:, 3].max() * zoom) / 3  # the lowest third of the rows below the face
    added_rows = round(float(np.clip(frame_height - _FACE_CENTER_Y * frame_height + center[1] - len(clip), 0, 3 * mirrored_rows)))
    clip = clip[_reflect(np.arange(len(clip) + added_rows), min(len(clip) - int(mirrored_rows), len(clip) - 1), len(clip), above=True)]
    rows, columns = clip.shape[:2]
    left = (frame_width - columns) // 2 if columns <= frame_width else round(float(np.clip(frame_width / 2 - center[0], frame_width - columns, 0)))
    top = frame_height - rows if rows <= frame_height else round(float(np.clip(_FACE_CENTER_Y * frame_height - center[1], frame_height - rows, 0)))
    covered = columns >= frame_width and rows >= frame_height
    image = np.zeros((frame_height, frame_width, 3), np.uint8) if covered else background(subject, size, zoom, index, (left, top))
    _paste(image, clip, left, top, blend_px=max(rows // 16, 1))
    return image, box + np.array([left, top, left, top])


def crowd(subject: Subject, size: tuple[int, int], height: float, trajectories: list[Trajectory], index: int) -> tuple[np.ndarray, Boxes]:
    """Return a frame of ``size`` with faces of this height in pixels on their trajectories, and the faces' boxes."""
    image, boxes = background(subject, size, 1.0, index, (0, 0)), []
    for trajectory in trajectories:
        center = trajectory(index / RATE)
        if center is None:
            boxes.append(None)
            continue
        clip, box = _scaled_frame(subject, index, height / subject.height)
        left, top = round(float(center[0] - (box[0] + box[2]) / 2)), round(float(center[1] - (box[1] + box[3]) / 2))
        _paste(image, clip, left, top, blend_px=max(len(clip) // 10, 1))
        boxes.append(box + np.array([left, top, left, top]))
    return image, boxes


def background(subject: Subject, size: tuple[int, int], zoom: float, index: int, corner: tuple[int, int]) -> np.ndarray:
    """Return a frame of mirrored strips only, aligned with a clip whose upper left corner will be pasted at ``corner`` (x, y)."""
    clip, _ = _scaled_frame(subject, index, zoom)
    (rows, columns), (left, right) = clip.shape[:2], subject.strips
    strip_rows = max(min(round(_ABOVE_SHOULDERS * float(np.median(subject.boxes[:, 3])) * zoom), rows), 2)
    y = _reflect(np.arange(size[1]) - corner[1], 0, strip_rows)
    x = np.arange(size[0]) - corner[0]
    left_columns, right_columns = (_reflect(x, *_scaled_range(side, zoom, columns)) for side in (left, right))
    seam = (left.stop + right.start) / 2 * zoom if left != right else columns / 2
    alpha = np.clip((x - seam) / max(columns / 16, 1) + 0.5, 0, 1).astype(np.float32)
    image, mixed = _gather(clip, y, np.where(alpha < 0.5, left_columns, right_columns)), np.flatnonzero((alpha > 0) & (alpha < 1))
    blended = _gather(clip, y, left_columns[mixed]) * (1 - alpha[mixed, None]) + _gather(clip, y, right_columns[mixed]) * alpha[mixed, None]
    image[:, mixed] = (blended + 0.5).astype(np.uint8)
    return image


def _gather(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return ``image[rows][:, columns]``, several times as fast as by indexing."""
    x, y = np.meshgrid(columns.astype(np.float32), np.arange(rows.max() + 1, dtype=np.float32))
    return cv2.remap(image, x, y, cv2.INTER_NEAREST)[rows]


def _scaled_range(side: slice, zoom: float, columns: int) -> tuple[int, int]:
    low, high = min(round(side.start * zoom), columns - 2), min(round(side.stop * zoom), columns)
    return low, max(high, low + 2)


def _reflect(position: np.ndarray, low: int, high: int, *, above: bool = False) -> np.ndarray:
    """Return positions reflected into ``low`` to ``high - 1``; with ``above``, positions below ``high`` are kept."""
    length = high - low
    offset = np.mod(position - low, 2 * length)
    reflected = low + np.where(offset < length, offset, 2 * length - 1 - offset)
    return np.where(position < high, position, reflected) if above else reflected


def _scaled_frame(subject: Subject, index: int, zoom: float) -> tuple[np.ndarray, np.ndarray]:
    source = subject.source_index(index)
    image, box = subject.images[source], subject.boxes[source]
    rows, columns = (max(round(side * zoom), 2) for side in image.shape[:2])
    if (rows, columns) != image.shape[:2]:
        image = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
    return image, box * zoom


def _paste(image: np.ndarray, clip: np.ndarray, left: int, top: int, *, blend_px: int) -> None:
    """Paste a clip into a frame. Its edges are blended over ``blend_px`` pixels, except at the frame's edges."""
    (frame_height, frame_width), (rows, columns) = image.shape[:2], clip.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + columns, frame_width), min(top + rows, frame_height)
    if x1 <= x0 or y1 <= y0:
        return
    x, y = np.arange(x0, x1)[None, :, None], np.arange(y0, y1)[:, None, None]
    no_edge = np.full((1, 1, 1), np.inf)
    distances = [x - left + 1 if left > 0 else no_edge, left + columns - x if left + columns < frame_width else no_edge]
    distances += [y - top + 1 if top > 0 else no_edge, top + rows - y if top + rows < frame_height else no_edge]
    alpha = np.ones(1, np.float32)
    for distance in distances:
        alpha = alpha * np.clip(distance / (blend_px + 1), 0, 1).astype(np.float32)
    target = image[y0:y1, x0:x1]
    target[:] = (clip[y0 - top : y1 - top, x0 - left : x1 - left] * alpha + target * (1 - alpha) + 0.5).astype(np.uint8)


def add_grain(images: Iterable[np.ndarray], deviation: float, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield the images with sensor noise added to their brightness, new in every image; ``deviation``: standard deviation in levels of 255."""
    rng, noise = np.random.default_rng(seed), None
    for image in images:
        if noise is None:
            noise = (rng.standard_normal((image.shape[0] + 64, image.shape[1] + 64, 1)) * deviation).astype(np.float32)
        down, across = rng.integers(0, 64, 2)
        crop = noise[down : down + image.shape[0], across : across + image.shape[1]]
        yield np.clip(image + crop + 0.5, 0, 255).astype(np.uint8)


def encode(path: Path, images: Iterable[np.ndarray], preset: str = "medium") -> Path:
    """Write RGB images as H.264 at ``RATE`` with libx264: this preset, crf 23, otherwise its defaults."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": preset, "crf": str(CRF)})
        stream.pix_fmt, stream.codec_context.thread_count = "yuv420p", 0  # as many threads as cores
        for number, image in enumerate(images):
            if not number:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def lengthen(source: Path, target: Path, seconds: float) -> Path:
    """Repeat the encoded packets of a video until it is at least ``seconds`` long, without re-encoding."""
    stream, length, length_s = None, 0, 0.0
    with av.open(str(target), "w") as out:
        while length_s < seconds:
            with av.open(str(source)) as container:
                video = container.streams.video[0]
                assert video.duration is not None and video.time_base is not None, f"{source}: the container has no duration"
                stream = stream or out.add_stream_from_template(video)
                for packet in container.demux(video):
                    if packet.dts is not None and packet.pts is not None:  # the last packet is empty
                        packet.pts, packet.dts, packet.stream = packet.pts + length, packet.dts + length, stream
                        out.mux(packet)
                length += video.duration
                length_s = float(length * video.time_base)
    return target
