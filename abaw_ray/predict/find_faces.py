"""First half of an analysis, for a CPU: a video -> its FACE rows with chips and its decoded audio, as files in a folder."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from abaw_ray.core.errors import ItemError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.settings import from_plain, to_plain
from abaw_ray.data.videos import is_image
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.isolated import IsolatedFaceWriter
from abaw_ray.faces.tracking.time_range import ALL_TIMES, RangeFrames, TimeRange
from abaw_ray.faces.weights import FaceWeights, load_face_weights
from abaw_ray.media.audio import Audio
from abaw_ray.media.isolated_audio import IsolatedAudioDecoder

FACES_FILE, AUDIO_FILE, SUMMARY_FILE = "faces.parquet", "audio.npz", "found.json"
"""Files of the folder; the last one marks it as complete."""


@dataclass(frozen=True, kw_only=True)
class FoundFaces:
    """What was found in one video, besides the files."""

    frames: int
    """Number of the last analyzed frame; 0 where no frame is in the range."""
    faces: int
    """Rows with a face."""
    width: int
    """Pixels of the first upright frame."""
    height: int
    """Pixels of the first upright frame."""
    audio: str
    """As ``VideoInfo.audio``."""
    range_frames: RangeFrames = RangeFrames()
    """The frames around the analyzed range."""
    error: str = ""
    """Why decoding stopped early; empty where it did not."""

    @property
    def analyzed(self) -> int:
        """Number of analyzed frames."""
        return max(self.frames - self.range_frames.skipped, 0)


class FindFaces:
    """Detects, tracks and crops the faces of a video, and decodes its audio; built once per worker."""

    def __init__(
        self,
        config: FacesConfig,
        limits: ChildLimits,
        *,
        weights: FaceWeights | None = None,
        with_audio: bool = True,
        time_range: TimeRange = ALL_TIMES,
    ) -> None:
        """Prepare the child processes; they start with the first video.

        Args:
            config: Detector, tracking and chips.
            limits: Limits of the child processes.
            weights: The weights of detector and embedder; None reads them again.
            with_audio: Whether the audio is decoded, always as a whole: the speech model reads what surrounds a frame.
            time_range: The analyzed part of each video; of images, the whole is analyzed.
        """
        weights = weights or load_face_weights(config)
        self._write_faces = IsolatedFaceWriter(config, limits, weights.detector, weights.embedder)
        self._time_range = time_range
        self._decode_audio = IsolatedAudioDecoder(limits) if with_audio else None

    def __call__(self, video: dict, folder: Path) -> FoundFaces:
        """Process one video, or one image as a video of one frame without sound.

        Args:
            video: A ``VIDEO`` row.
            folder: An empty local folder for the files.

        Raises:
            ItemError: no frame can be decoded.
            MissingError: the file does not exist.
            StorageError: it cannot be read, or the disk is full; a retry may succeed.
        """
        still, path = is_image(video["uri"]), folder / FACES_FILE
        result = self._write_faces.write_still(video, path) if still else self._write_faces.write_video(video, path, self._time_range)
        width, height = result.size or (0, 0)
        found = FoundFaces(
            frames=result.frames,
            faces=result.faces,
            width=width,
            height=height,
            audio="absent" if still else self._store_audio(video["uri"], folder / AUDIO_FILE),
            range_frames=result.range_frames,
            error="" if result.error is None else str(result.error),
        )
        (folder / SUMMARY_FILE).write_text(json.dumps(to_plain(found)))
        return found

    def close(self) -> None:
        """End the child processes."""
        self._write_faces.close()
        if self._decode_audio:
            self._decode_audio.close()

    def _store_audio(self, uri: str, path: Path) -> str:
        if self._decode_audio is None:
            return "unused"
        try:
            audio = self._decode_audio(uri)
        except ItemError as error:
            return str(error)
        if audio is None:
            return "absent"
        np.savez(path, samples=audio.samples, start=audio.start, spans=audio.audible_spans())
        return "present"


def read_summary(folder: Path) -> FoundFaces:
    """The result of ``FindFaces`` for a folder, without the audio."""
    return from_plain(FoundFaces, json.loads((folder / SUMMARY_FILE).read_text()))


def read_found(folder: Path) -> tuple[FoundFaces, Audio | None]:
    """What ``FindFaces`` wrote into a folder, besides the FACE rows."""
    found = read_summary(folder)
    if found.audio != "present":
        return found, None
    with np.load(folder / AUDIO_FILE) as file:
        return found, Audio(file["samples"], float(file["start"]), file["spans"])
