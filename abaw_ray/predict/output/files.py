"""Writes the files that users get for one video: its table, its page, and a video with boxes."""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from abaw_ray.core.errors import DataError, ItemError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.storage.filesystems import is_remote
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.videos import is_image
from abaw_ray.media.playback.isolated import IsolatedVideoWriter
from abaw_ray.media.playback.playability import check_playability
from abaw_ray.media.playback.proxy import write_proxy
from abaw_ray.predict.analysis_data import AnalysisData
from abaw_ray.predict.config import OutputConfig
from abaw_ray.predict.output.page import relative_path, video_page
from abaw_ray.report.overlay.video import OverlayWriter
from abaw_ray.report.video.page import write_video_page

OVERLAY, PROXY = ".overlay.mp4", ".proxy.mp4"
"""Suffixes of the videos that are written."""
WRITTEN_SUFFIXES = (OVERLAY, PROXY, ".csv", ".parquet", ".html", ".json")
"""Suffixes of all files that are written into the output folder."""


class OutputWriter:
    """Writes the files of analyzed videos; built once per worker."""

    def __init__(self, output: Storage, config: OutputConfig, limits: ChildLimits) -> None:
        """No process starts before the first video is written.

        Args:
            output: The user's output folder.
            config: Which files are written.
            limits: Limits of the child processes that decode.
        """
        self.output, self.config = output, config
        self._write_overlay = OverlayWriter(config.encoding, limits)
        self._write_proxy = IsolatedVideoWriter(write_proxy, limits)

    def suffixes(self, uri: str) -> dict[str, str]:
        """Kind -> suffix of the files that every video of this kind gets: ``csv``, ``parquet``, ``page``, ``overlay``."""
        video = not is_image(uri)
        return {
            **{name: f".{name}" for name in self.config.formats},
            **({"page": ".html"} if self.config.report else {}),
            **({"overlay": OVERLAY} if self.config.overlay and video else {}),
        }

    def optional_suffixes(self, uri: str) -> dict[str, str]:
        """As ``suffixes``, of the files that only some videos need: ``proxy``."""
        return {"proxy": PROXY} if self.config.report and not is_image(uri) else {}

    def __call__(self, analysis: AnalysisData, name: str) -> None:
        """Write all files of one video.

        Args:
            analysis: The analysis.
            name: Path of its files below the output folder, without suffix.

        Raises:
            StorageError: a file cannot be written, or the video cannot be read; a retry may succeed.
        """
        if "csv" in self.config.formats:
            self._put(f"{name}.csv", analysis.to_csv)
        if "parquet" in self.config.formats:
            self._put(f"{name}.parquet", analysis.to_parquet)
        if self.config.overlay and not is_image(analysis.video.uri):
            with suppress(ItemError, DataError):  # a damaged video that cannot be decoded again has none
                self.write_overlay(analysis, f"{name}{OVERLAY}")
        if self.config.report:
            csv = f"{name.rpartition('/')[2]}.csv" if "csv" in self.config.formats else None
            self.write_page(analysis, name, csv=csv, index=f"{'../' * name.count('/')}index.html")

    def write_page(self, analysis: AnalysisData, name: str, *, csv: str | None = None, index: str | None = None) -> None:
        """Write the page ``name``.html, and beside it a copy of a video that browsers cannot play.

        Args:
            analysis: The analysis.
            name: Path of the page below the output folder, without suffix.
            csv: Path of the table relative to the page.
            index: Path of the list of videos relative to the page.
        """
        write_video_page(self.output, video_page(analysis, video=self._playable(analysis, name), csv=csv, index=index), name=f"{name}.html")

    def write_overlay(self, analysis: AnalysisData, path: str) -> None:
        """Write the video with boxes and expressions to an ``.mp4`` below the output folder.

        Raises:
            ItemError: the video cannot be decoded again.
            DataError: it has changed since the analysis.
        """
        self._put(path, lambda local: self._write_overlay(analysis.video.uri, analysis.table, local))

    def close(self) -> None:
        """End the child processes."""
        self._write_overlay.close()
        self._write_proxy.close()

    def _put(self, path: str, write: Callable[[Path], object]) -> None:
        with tempfile.TemporaryDirectory(prefix="abaw-output-") as folder:
            local = Path(folder) / Path(path).name
            write(local)
            self.output.put_file(local, path)

    def _playable(self, analysis: AnalysisData, name: str) -> str | None:
        """Path of a video that browsers play, relative to the page: the user's own where possible, else a copy that is written here."""
        uri = analysis.video.uri
        if is_image(uri):
            return None
        try:
            plays = check_playability(uri).plays
        except (ItemError, DataError):
            return None
        if plays and not is_remote(uri) and not is_remote(self.output.config.uri):
            return relative_path(Path(uri.removeprefix("file://")), Path(self.output.uri(f"{name}.html")))
        proxy = f"{name}{PROXY}"
        if not self.output.is_file(proxy):
            try:
                self._put(proxy, lambda path: self._write_proxy(uri, path, self.config.encoding, analysis.video.frames, start=analysis.video.start_s))
            except (ItemError, DataError):
                return None
        return proxy.rpartition("/")[2]
