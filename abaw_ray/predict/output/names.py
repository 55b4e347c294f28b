"""Names of output files: those of the videos, in the same folders."""

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

from abaw_ray.core.settings import digest

_MAX_BYTES = 220
"""Bytes of a name without its suffix: file systems allow 255, of which the longest suffix and the temporary one of a write take 25. Ours."""
_RESERVED = ("index", "summary", "episodes", "failures", "run")
"""Names of the files about all videos."""


def output_names(videos: Iterable[str]) -> dict[str, str]:
    """Path of each video's outputs without the suffix of the format, relative to the output folder.

    ``a/clip.mp4`` becomes ``a/clip``. Where two videos of a folder differ only in their suffix, or a name is one of the files about all videos,
    the suffix stays: ``a/clip.mp4`` and ``a/clip.mov``. Letter case does not distinguish names, because some file systems ignore it. Names that
    are still equal get a digest; a name that would be too long with the suffixes of outputs is cut and gets one too.

    Args:
        videos: Names of videos, each once: paths relative to the input, or absolute ones.
    """
    safe = {video: _below(video) for video in videos}
    stems = {video: str(path.with_suffix("")) for video, path in safe.items()}
    count = Counter(map(str.lower, stems.values()))
    names = {video: stem if count[stem.lower()] == 1 and stem.lower() not in _RESERVED else str(safe[video]) for video, stem in stems.items()}
    count = Counter(map(str.lower, names.values()))
    distinct = {video: name if count[name.lower()] == 1 else f"{name}-{digest(video, 12)}" for video, name in names.items()}
    return {video: "/".join(map(_short, name.split("/"))) for video, name in distinct.items()}


def _short(part: str) -> str:
    """The name of a file or folder, cut if it is too long."""
    data = part.encode()
    return part if len(data) <= _MAX_BYTES else f"{data[: _MAX_BYTES - 13].decode(errors='ignore')}-{digest(part, 12)}"


def _below(video: str) -> PurePosixPath:
    """The path with nothing that leads out of the output folder."""
    parts = [part for part in PurePosixPath(video.replace("://", "/")).parts if part not in ("/", "..", ".")]
    return PurePosixPath(*parts) if parts else PurePosixPath("video")
