"""What a child process runs in tests: the real work with a drawn detector, and a decoder that crashes, hangs or eats memory at a frame."""

import os
import signal
import time
from pathlib import Path

import cv2
import numpy as np
from detector_of_squares import red_squares

import abaw_ray.faces.crop as crop_module
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.output import WriteParts
from abaw_ray.media.video import decode


class Crashing(WriteParts):
    """``how`` is said by the video's name, ``at`` in a file: so that one video crashes now and not later."""

    def __init__(self, config, diary: Path):
        self.crop, self.diary = CropFaces(config, red_squares), diary
        crop_module.decode = self.decode

    def decode(self, uri, **options):
        """The real decoder, up to the frame."""
        how, at = Path(uri).stem.split("-")[0], int((Path(uri).stem.split("-") + ["0"])[1])
        with self.diary.open("a") as diary:
            diary.write(f"{how}\n")
        for frame in decode(uri, **options):
            if how == "look" and frame.number == at:  # while it is looked at
                _crash()
            yield frame
            if frame.number == at != options["max_frames"]:  # in the picture after it
                {
                    "crash": _crash,
                    "hang": _hang,
                    "eat": _eat,
                    "enlarge": _enlarge,
                    "defect": lambda: 1 // 0,
                    "once": self._once,
                    "fine": lambda: None,
                    "look": lambda: None,
                    "join": lambda: None,
                }[how]()

    def join(self, video, folders, path):
        """The real one, or a crash."""
        if Path(video["uri"]).stem.startswith("join"):
            _crash()
        return super().join(video, folders, path)

    def _once(self):
        if self.diary.read_text().count("once") == 1:
            _crash()


def _crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def _hang():
    while True:
        time.sleep(1)


def _enlarge():
    cv2.resize(np.zeros((8, 8), np.uint8), (60_000, 60_000))


def _eat():
    hoard = []
    while True:
        hoard.append(bytearray(64 << 20))
