"""Synthetic videos of heads that move fast, recorded with a short and with a long exposure, as examples: faces that the stage ``faces`` prepares.

Both videos show the same motion at the same times. With the short exposure every frame shows a moment, with the long one the mean of the moments
until the next frame, as a camera in low light records it. So the two differ in their motion blur, and in what the detector makes of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int, UInt8

from abaw_ray.core.expressions import UNLABELLED
from abaw_ray.data.synthetic.config import SyntheticConfig, generator
from abaw_ray.data.synthetic.face.face import Pose
from abaw_ray.data.synthetic.scene.animation import Animation, smooth_noise
from abaw_ray.data.synthetic.scene.scene import Scene
from abaw_ray.data.synthetic.script import VideoScript, make_script
from abaw_ray.faces.chips import crop_scale, decode_jpeg
from abaw_ray.faces.config import ChipConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.media.write import write_video
from tools.data.augmentation.examples import Examples

KINDS = ("videos of fast motion, short exposure", "videos of fast motion, long exposure")
CLASSES = 7
"""Classes that images and videos share; frames of ``Other`` are left out."""
_MOMENTS = 8
"""Rendered images per frame."""
_AMPLITUDE = (0.3, 0.8)
"""Amplitude of the motion in half face widths; every video has its own. Half of the frames then move by 0.03 to 0.09 of the box during the long
exposure. In a real clip of a stage (30 frames per second) 95 % of the faces move by less than 0.06 from frame to frame, and 1 % by 0.12 to 0.27."""
_PERIOD = (0.4, 1.0)
"""Seconds."""
_VERTICAL = 0.5
"""Vertical over horizontal motion: people rather shake their heads than nod."""
_BOX = 2.4
"""Side of the detector's box in half face widths (``face_box``)."""


@dataclass(frozen=True)
class MovingHead:
    """One video of one subject."""

    short: list[UInt8[np.ndarray, "h w 3"]]
    long: list[UInt8[np.ndarray, "h w 3"]]
    """The frames with both exposures."""
    times: Float[np.ndarray, " frames"]
    """Seconds."""
    labels: Int[np.ndarray, " frames"]
    """-1 where the face does not show the expression, the annotation has none, or it is none of the shared ones."""
    motion: Float[np.ndarray, " frames"]
    """Motion of the head during the long exposure over the side of its box."""


def moving_heads(config: SyntheticConfig) -> Iterator[MovingHead]:
    """Render the videos of Validation_Set."""
    for video in make_script(config):
        if len(video.subjects) == 1 and video.subjects[0].split == "val":
            yield render_moving_head(config, video)


def render_moving_head(config: SyntheticConfig, video: VideoScript) -> MovingHead:
    """Render one video of one subject, whose head moves fast besides its usual motion."""
    scene, rng = Scene(config, video), generator(config.seed, "fast motion", video.name)
    times, labels = scene.times, _visible_labels(scene)
    exposure = np.diff(times).min()
    scene.times = (times[:, None] + exposure * np.arange(_MOMENTS) / _MOMENTS).ravel()
    animation = _with_fast_motion(scene.animations()[0], scene.times, rng)
    wall, camera = scene.wall_and_camera()
    short, long, images = [], [], scene.render(wall, [animation])
    for index in range(len(times)):
        moments = list(islice(images, _MOMENTS))
        light, blur = animation.brightness[index * _MOMENTS], animation.blur[index * _MOMENTS]
        grain = int(rng.integers(2**31))
        for frames, image in ((short, moments[0]), (long, np.rint(np.mean(moments, axis=0)).astype(np.uint8))):
            frames.append(camera.record(image, np.random.default_rng(grain), light, blur))
    return MovingHead(short=short, long=long, times=times, labels=labels, motion=_motion(animation.poses))


def _visible_labels(scene: Scene) -> Int[np.ndarray, " frames"]:
    segments = scene.video.subjects[0].segments
    rows = scene.labels(0)[: len(scene.times)]
    labels = np.concatenate([rows, np.full(len(scene.times) - len(rows), UNLABELLED)]).astype(np.int64)
    index = np.searchsorted([segment.stop for segment in segments[:-1]], scene.times, side="right")
    hidden = np.array([bool(segment.occlusion) for segment in segments])[index]
    return np.where(hidden | (labels >= CLASSES), UNLABELLED, labels)


def _with_fast_motion(animation: Animation, times: np.ndarray, rng: np.random.Generator) -> Animation:
    amplitude = rng.uniform(*_AMPLITUDE)
    x, y = smooth_noise(rng, times, amplitude, _PERIOD), smooth_noise(rng, times, _VERTICAL * amplitude, _PERIOD)
    poses = [replace(pose, x=pose.x + pose.size * dx, y=pose.y + pose.size * dy) for pose, dx, dy in zip(animation.poses, x, y, strict=True)]
    return replace(animation, poses=poses)


def _motion(poses: list[Pose]) -> Float[np.ndarray, " frames"]:
    """Length of the path from the first to the last moment of every frame over the side of the box."""
    places = np.array([[pose.x, pose.y] for pose in poses]).reshape(-1, _MOMENTS, 2)
    sizes = np.array([pose.size for pose in poses]).reshape(-1, _MOMENTS)[:, 0]
    return np.linalg.norm(np.diff(places, axis=1), axis=2).sum(axis=1) / (_BOX * sizes)


def video_examples(config: SyntheticConfig, crop: CropFaces, folder: Path) -> tuple[dict[str, Examples], Float[np.ndarray, " frames"]]:
    """Examples by kind, and the motion of all frames: the videos are written, their faces prepared, and the labelled ones cut at all scales."""
    parts, motion = {kind: [] for kind in KINDS}, []
    for number, head in enumerate(moving_heads(config)):
        motion.append(head.motion)
        for kind, frames in zip(KINDS, (head.short, head.long), strict=True):
            path = folder / f"{number}.mp4"
            write_video(path, frames, head.times, None, crf=config.crf, preset="veryfast")
            parts[kind].append(_prepare(path, head.labels, number, crop))
    return {kind: _concatenate(examples) for kind, examples in parts.items()}, np.concatenate(motion)


def _prepare(path: Path, labels: Int[np.ndarray, " frames"], number: int, crop: CropFaces) -> Examples:
    faces = pa.concat_tables(crop({"video": path.stem, "uri": str(path), "subjects": [{"track": path.stem, "side": ""}]}))
    faces = faces.filter(pc.field("seen"))
    rows = labels[np.asarray(faces["frame"]) - 1]
    views = _views(faces.filter(pa.array(rows != UNLABELLED)), crop.config.chips)
    return Examples(views=views, labels=rows[rows != UNLABELLED], groups=np.full(len(views), number), classes=CLASSES)


def _concatenate(parts: list[Examples]) -> Examples:
    views, labels, groups = (np.concatenate([getattr(part, name) for part in parts]) for name in ("views", "labels", "groups"))
    return Examples(views=views, labels=labels, groups=groups, classes=CLASSES)


def _views(faces: pa.Table, chips: ChipConfig) -> UInt8[np.ndarray, "faces scales 3 size size"]:
    images = [decode_jpeg(chip.as_py()) for chip in faces["chip"]]
    views = [np.stack([crop_scale(image, scale, chips).transpose(2, 0, 1) for scale in chips.scales]) for image in images]
    return np.stack(views) if views else np.empty((0, len(chips.scales), 3, chips.size, chips.size), np.uint8)
