"""Synthetic videos of heads that move fast, recorded with a short and with a long exposure, as examples: faces that the stage ``faces`` prepares.

Both videos show the same motion at the same times. With the short exposure every frame shows a moment, with the long one the mean of the moments
until the next frame, as a camera in low light records it. So the two differ in their motion blur, and in the boxes that the detector finds.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int, UInt8
from numpy.typing import ArrayLike

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
"""Amplitude of the motion in half face widths; every video has its own. In a real clip of a stage (30 frames per second), 95 % of the faces move by
less than 0.06 of their box from frame to frame, and 1 % by 0.12 to 0.27; the middle half of these videos' frames move by about 0.04 to 0.1."""
_PERIOD = (0.4, 1.0)
"""Seconds."""
_VERTICAL = 0.5
"""Vertical over horizontal amplitude: heads are shaken more than nodded."""
_BOX = 2.4
"""Side of the detector's box in half face widths (``face_box``)."""
_MARGIN = 3
"""Frames before and after a hidden face that are left out, too: the head is on its way to the border of the picture, or back."""


@dataclass(frozen=True)
class MovingHead:
    """One video of one subject."""

    identity: str
    """Name of the person, of whom there may be two videos."""
    short: list[UInt8[np.ndarray, "h w 3"]]
    long: list[UInt8[np.ndarray, "h w 3"]]
    """The frames with both exposures."""
    times: Float[np.ndarray, " frames"]
    """Seconds."""
    labels: Int[np.ndarray, " frames"]
    """-1 where the face does not show the expression during the whole exposure, the annotation has none, or it is none of the shared ones."""
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
    original, times = scene.animations()[0], scene.times
    moments = times[:, None] + np.diff(times, append=2 * times[-1] - times[-2])[:, None] * np.arange(_MOMENTS) / _MOMENTS
    animation = _at_moments(original, times, moments.ravel(), rng)
    wall, camera = scene.wall_and_camera()
    short, long, images = [], [], scene.render(wall, [animation])
    for light, blur in zip(original.brightness, original.blur, strict=True):
        exposed = list(islice(images, _MOMENTS))
        noise = int(rng.integers(2**31))
        for frames, image in ((short, exposed[0]), (long, np.rint(np.mean(exposed, axis=0)).astype(np.uint8))):
            frames.append(camera.record(image, np.random.default_rng(noise), light, blur))
    return MovingHead(
        identity=video.subjects[0].identity, short=short, long=long, times=times, labels=_visible_labels(scene), motion=_motion(animation.poses)
    )


def _at_moments(animation: Animation, times: np.ndarray, moments: np.ndarray, rng: np.random.Generator) -> Animation:
    """The animation of the frames, interpolated at the moments, with fast motion. Occlusion and light are those of the frame."""

    def at(values: ArrayLike) -> np.ndarray:
        return np.interp(moments, times, np.asarray(values, dtype=np.float64))

    amplitude = rng.uniform(*_AMPLITUDE)
    fast = [smooth_noise(rng, moments, size, _PERIOD) for size in (amplitude, _VERTICAL * amplitude)]
    columns = {name: at([getattr(pose, name) for pose in animation.poses]) for name in ("x", "y", "size", "roll", "yaw", "pitch")}
    columns["x"] += columns["size"] * fast[0]
    columns["y"] += columns["size"] * fast[1]
    gaze = np.stack([at([pose.gaze[axis] for pose in animation.poses]) for axis in (0, 1)], axis=1).tolist()
    frames = np.repeat(np.arange(len(times)), _MOMENTS)
    return replace(
        animation,
        poses=[
            Pose(**{name: float(values[index]) for name, values in columns.items()}, gaze=(gaze[index][0], gaze[index][1]))
            for index in range(len(moments))
        ],
        activations=np.stack([at(unit) for unit in animation.activations.T], axis=1),
        occlusion=[animation.occlusion[frame] for frame in frames],
        shift=[animation.shift[frame] for frame in frames],
        brightness=animation.brightness[frames],
        blur=animation.blur[frames],
    )


def _visible_labels(scene: Scene) -> Int[np.ndarray, " frames"]:
    segments, count = scene.video.subjects[0].segments, len(scene.times)
    rows = scene.labels(0)[:count]
    labels = np.concatenate([rows, np.full(count - len(rows), UNLABELLED)]).astype(np.int64)
    index = np.searchsorted([segment.stop for segment in segments[:-1]], scene.times, side="right")
    hidden = np.array([bool(segment.occlusion) for segment in segments])[index]
    near_hidden = np.convolve(hidden, np.ones(2 * _MARGIN + 1), mode="same") > 0
    changes = labels != np.append(labels[1:], labels[-1])  # during the exposure
    return np.where(near_hidden | changes | (labels >= CLASSES), UNLABELLED, labels)


def _motion(poses: list[Pose]) -> Float[np.ndarray, " frames"]:
    """Length of the path from the first to the last moment of every frame over the side of the box."""
    places = np.array([[pose.x, pose.y] for pose in poses]).reshape(-1, _MOMENTS, 2)
    sizes = np.array([pose.size for pose in poses]).reshape(-1, _MOMENTS)[:, 0]
    return np.linalg.norm(np.diff(places, axis=1), axis=2).sum(axis=1) / (_BOX * sizes)


def video_examples(config: SyntheticConfig, crop: CropFaces, folder: Path) -> tuple[dict[str, Examples], dict[str, Any]]:
    """Examples by kind: the videos are written, their faces prepared, and those that were found with both exposures are cut at all scales.

    Returns:
        The examples, and figures about them: the labelled frames, those with a face by kind, and quantiles of the motion of the examples.
    """
    parts, motion, figures = {kind: [] for kind in KINDS}, [], Counter[str]()
    identities: dict[str, int] = {}
    for number, head in enumerate(moving_heads(config)):
        chips = {}
        for kind, frames in zip(KINDS, (head.short, head.long), strict=True):
            path = folder / f"{number}.mp4"
            write_video(path, frames, head.times, None, crf=config.crf, preset="veryfast")
            chips[kind] = _prepare(path, head.labels, crop)
            figures[kind] += len(chips[kind])
        figures["labelled"] += int((head.labels != UNLABELLED).sum())
        both = sorted(chips[KINDS[0]].keys() & chips[KINDS[1]].keys())
        motion.append(head.motion[both])
        group = identities.setdefault(head.identity, len(identities))
        for kind in KINDS:
            views = _views([chips[kind][frame] for frame in both], crop.config.chips)
            parts[kind].append(Examples(views=views, labels=head.labels[both], groups=np.full(len(both), group), classes=CLASSES))
    quantiles = np.quantile(np.concatenate(motion), (0.05, 0.25, 0.5, 0.75, 0.95)).tolist()
    return {kind: _concatenate(examples) for kind, examples in parts.items()}, {"frames": dict(figures), "motion_quantiles": quantiles}


def _prepare(path: Path, labels: Int[np.ndarray, " frames"], crop: CropFaces) -> dict[int, bytes]:
    """Index of each labelled frame with a face -> its chip."""
    faces = pa.concat_tables(crop({"video": path.stem, "uri": str(path), "subjects": [{"track": path.stem, "side": ""}]})).filter(pc.field("seen"))
    chips = {frame - 1: chip for frame, chip in zip(faces["frame"].to_pylist(), faces["chip"].to_pylist(), strict=True)}
    return {frame: chip for frame, chip in chips.items() if labels[frame] != UNLABELLED}


def _concatenate(parts: list[Examples]) -> Examples:
    views, labels, groups = (np.concatenate([getattr(part, name) for part in parts]) for name in ("views", "labels", "groups"))
    return Examples(views=views, labels=labels, groups=groups, classes=CLASSES)


def _views(chips: list[bytes], config: ChipConfig) -> UInt8[np.ndarray, "faces scales 3 size size"]:
    views = [np.stack([crop_scale(image, scale, config).transpose(2, 0, 1) for scale in config.scales]) for image in map(decode_jpeg, chips)]
    return np.stack(views) if views else np.empty((0, len(config.scales), 3, config.size, config.size), np.uint8)
