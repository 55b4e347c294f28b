"""The work of a child process in tests: the real code with a detector of red squares and a decoder that fails."""

import os
import signal
import time
from pathlib import Path

import cv2
import numpy as np
from detector_of_squares import red_squares

import abaw_ray.faces.crop as crop_module
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.output import FaceWriter
from abaw_ray.media.video import decode


class CrashingFaceWriter(FaceWriter):
    """The name of the video gives the kind of failure and its frame; with the log, ``once`` crashes at the first attempt only."""

    def __init__(self, config, log: Path):
        self.crop, self.log = CropFaces(config, red_squares), log
        crop_module.decode = self.decode

    def decode(self, uri, **options):
        """The real decoder, with the failure after its frame."""
        failure, number = Path(uri).stem.split("-")[0], int((Path(uri).stem.split("-") + ["0"])[1])
        with self.log.open("a") as log:
            log.write(f"{failure}\n")
        for frame in decode(uri, **options):
            if failure == "detect" and frame.number == number:  # while the detector runs
                _crash()
            yield frame
            if frame.number == number != options["max_frames"]:  # while the next frame is decoded
                {
                    "crash": _crash,
                    "hang": _hang,
                    "exhaust": _exhaust,
                    "enlarge": _enlarge,
                    "defect": lambda: 1 // 0,
                    "once": self._once,
                    "fine": lambda: None,
                    "detect": lambda: None,
                    "join": lambda: None,
                }[failure]()

    def join_chunks(self, video, folders, path):
        """The real join, or a crash."""
        if Path(video["uri"]).stem.startswith("join"):
            _crash()
        return super().join_chunks(video, folders, path)

    def _once(self):
        if self.log.read_text().count("once") == 1:
            _crash()


def _crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def _hang():
    while True:
        time.sleep(1)


def _enlarge():
    cv2.resize(np.zeros((8, 8), np.uint8), (60_000, 60_000))


def _exhaust():
    blocks = []
    while True:
        blocks.append(bytearray(64 << 20))
