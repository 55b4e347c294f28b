"""A face in a frame -> its row: box, landmarks and chip. The same for the frames of videos and for still images."""

import numpy as np

from abaw_ray.faces.chips import crop_chip, encode_jpeg
from abaw_ray.faces.config import ChipConfig
from abaw_ray.faces.detection.detect import Face
from abaw_ray.media.frame import Frame
from abaw_ray.media.square_crop import Image


def face_row(frame: Frame, face: Face, config: ChipConfig) -> dict:
    """Return the columns of a FACE row except ``video`` and ``track``."""
    return {"frame": frame.number, "time": frame.time} | face_columns(frame, face, config)


def face_columns(image: Image | Frame, face: Face, config: ChipConfig) -> dict:
    """Return the columns of a FACE row that follow from the face in its image: all but its names, its frame and its time."""
    box = face.box.astype(np.float32).astype(np.float64)  # as the table stores it, so that cropping again gives the same chip
    chip = crop_chip(image, box, config) if config.keep == "jpeg" else None
    return {
        "seen": True,
        "source": face.source,
        "box": box.tolist(),
        "score": face.score,
        "landmarks": None if face.landmarks is None else face.landmarks.ravel().tolist(),
        "chip": None if chip is None else encode_jpeg(chip.image, config.quality),
        "chip_scale": None if chip is None else chip.scale,
        "inside": None if chip is None else chip.inside,
    }
