"""Names of output files: those of the videos, in the same folders."""

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

_RESERVED = ("index", "summary", "episodes", "failures", "run")
"""Names of the files about all videos."""


def output_names(videos: Iterable[str]) -> dict[str, str]:
    """Path of each video's outputs without the suffix of the format, relative to the output folder.

    ``a/clip.mp4`` becomes ``a/clip``. Where two videos of a folder differ only in their suffix, or a name is one of the files about all videos,
    the suffix stays: ``a/clip.mp4`` and ``a/clip.mov``. Letter case does not distinguish names, because some file systems ignore it.

    Args:
        videos: Names of videos, each once: paths relative to the input, or absolute ones.
    """
    safe = {video: _below(video) for video in videos}
    stems = {video: str(path.with_suffix("")) for video, path in safe.items()}
    count = Counter(stem.lower() for stem in stems.values())
    return {video: stem if count[stem.lower()] == 1 and stem.lower() not in _RESERVED else str(safe[video]) for video, stem in stems.items()}


def _below(video: str) -> PurePosixPath:
    """The path with nothing that leads out of the output folder."""
    parts = [part for part in PurePosixPath(video.replace("://", "/")).parts if part not in ("/", "..", ".")]
    return PurePosixPath(*parts) if parts else PurePosixPath("video")
