"""The video of a page: the user's own file, or a copy that browsers play; linked by a relative path, or embedded in the page."""

import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from abaw_ray.core.errors import DataError, ItemError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.storage.filesystems import is_remote
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.trees import open_file
from abaw_ray.data.videos import is_image
from abaw_ray.media.playback.isolated import IsolatedVideoWriter
from abaw_ray.media.playback.playability import check_playability
from abaw_ray.media.playback.proxy import write_proxy
from abaw_ray.predict.analysis_data import AnalysisData
from abaw_ray.predict.config import OutputConfig
from abaw_ray.predict.output.page import PageVideo, relative_path
from abaw_ray.report.video.config import VideoPageConfig

PROXY = ".proxy.mp4"
"""Suffix of a copy that browsers play."""
_MEDIA_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm"}
"""Media types of the files that ``check_playability`` accepts, by suffix."""
_MAX_EMBEDDED_MB = VideoPageConfig().max_embedded_mb


@dataclass(frozen=True, kw_only=True)
class _UserFile:
    """The analyzed file."""

    uri: str
    storage: Storage
    name: str
    size: int
    """Bytes."""

    @property
    def media_type(self) -> str:
        return _MEDIA_TYPES[PurePosixPath(self.name).suffix.lower()]

    def read(self) -> bytes:
        return self.storage.read_bytes(self.name)


class PageVideoWriter:
    """Finds the video of each page, and writes a copy where one is needed."""

    def __init__(self, output: Storage, config: OutputConfig, limits: ChildLimits) -> None:
        """No process starts before the first copy is written.

        Args:
            output: The folder of the pages.
            config: Whether videos are embedded, and the encoding of copies.
            limits: Limits of the child process that decodes.
        """
        self.output, self.config = output, config
        self._write_proxy = IsolatedVideoWriter(write_proxy, limits)

    def __call__(self, analysis: AnalysisData, name: str, *, keep_proxy: bool = False) -> PageVideo:
        """The video of one page; without one, where there is nothing that a browser could show.

        Args:
            analysis: The analysis.
            name: Path of the page below the output folder, without suffix.
            keep_proxy: Whether a copy of this analysis exists, and is linked as it is.

        Raises:
            StorageError: a file cannot be written, or the video cannot be read; a retry may succeed.
        """
        uri = analysis.video.uri
        if is_image(uri) or not len(analysis.table):
            return PageVideo()
        try:
            if analysis.video.damage or not check_playability(uri).plays:  # at damage, a browser stops and shows nothing more
                return self._copy(analysis, name, embed=self.config.embed, keep_proxy=keep_proxy)
            file = self._user_file(uri) if self.config.embed else None
            if file is not None and _fits(file.size):
                return PageVideo(video=file.read(), media_type=file.media_type)
            note = "" if file is None else _too_large("the video", file.size)
            if not is_remote(uri) and not is_remote(self.output.config.uri):
                return PageVideo(video=relative_path(Path(uri.removeprefix("file://")), Path(self.output.uri(f"{name}.html"))), note=note)
            return self._copy(analysis, name, embed=False, keep_proxy=keep_proxy, note=note)
        except (ItemError, DataError):
            return PageVideo()

    def close(self) -> None:
        """End the child process."""
        self._write_proxy.close()

    def _user_file(self, uri: str) -> _UserFile:
        tree, name = open_file(uri, self.output.config)
        entry = tree.stat([name])[0]
        if entry is None:
            raise DataError(f"{uri}: no such file; it has been moved since the analysis")
        return _UserFile(uri=uri, storage=Storage(tree.config), name=name, size=entry.size)

    def _copy(self, analysis: AnalysisData, name: str, *, embed: bool, keep_proxy: bool, note: str = "") -> PageVideo:
        """A copy up to the end of the analyzed part: embedded, or beside the page."""
        linked = f"{name.rpartition('/')[2]}{PROXY}"
        if keep_proxy and not embed:
            return PageVideo(video=linked, is_copy=True, note=note)
        video = analysis.video
        with tempfile.TemporaryDirectory(prefix="abaw-output-") as folder:
            path = Path(folder) / "proxy.mp4"
            self._write_proxy(video.uri, path, self.config.encoding, video.frames, start=video.start_s, end=video.analyzed_to_s)
            size = path.stat().st_size
            if embed and _fits(size):
                return PageVideo(video=path.read_bytes())
            self.output.put_file(path, f"{name}{PROXY}")
        return PageVideo(video=linked, is_copy=True, note=_too_large("the copy of the video for browsers", size) if embed else note)


def _fits(size: int) -> bool:
    return size <= _MAX_EMBEDDED_MB * 1e6


def _too_large(what: str, size: int) -> str:
    return f"{what} has {size / 1e6:.1f} MB, more than the {_MAX_EMBEDDED_MB:g} MB that are embedded: it is a file of its own, linked by the page"
