"""Writes the files that users get for one video: its table, its page, and a video with boxes."""

import tempfile
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from pathlib import Path

from abaw_ray.core.errors import DataError, ItemError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.videos import is_image
from abaw_ray.predict.analysis_data import AnalysisData
from abaw_ray.predict.config import OutputConfig
from abaw_ray.predict.output.page import PageVideo, video_page
from abaw_ray.predict.output.page_video import PROXY, PageVideoWriter
from abaw_ray.predict.output.written_files import WrittenFiles, read_written
from abaw_ray.report.overlay.video import OverlayWriter
from abaw_ray.report.video.page import write_video_page

CSV, PARQUET, PAGE, OVERLAY = ".csv", ".parquet", ".html", ".overlay.mp4"
"""Suffixes of the files."""
WRITTEN_SUFFIXES = (OVERLAY, PROXY, CSV, PARQUET, PAGE, ".json")
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
        self._page_video = PageVideoWriter(output, config, limits)

    def suffixes(self, uri: str) -> dict[str, str]:
        """Kind -> suffix of the files that every video of this kind gets: ``csv``, ``parquet``, ``overlay``, and last ``page``."""
        return {
            **{name: f".{name}" for name in self.config.formats},
            **({"overlay": OVERLAY} if self.config.overlay and not is_image(uri) else {}),
            **({"page": PAGE} if self.config.report else {}),
        }

    def optional_suffixes(self, uri: str) -> dict[str, str]:
        """As ``suffixes``, of the files that only some videos need: ``proxy``."""
        return {"proxy": PROXY} if self.config.report and not is_image(uri) else {}

    def __call__(self, analysis: AnalysisData, name: str, source: str, existing: Container[str] | None = None) -> WrittenFiles:
        """Write the files of one video.

        Args:
            analysis: The analysis.
            name: Path of its files below the output folder, without suffix.
            source: Path of the stored analysis: another one for another video or other settings.
            existing: Files of the output folder; those that were written from the same analysis and settings are kept. None writes all files.

        Returns:
            The facts about its files.

        Raises:
            StorageError: a file cannot be written, or the video cannot be read; a retry may succeed.
        """
        written, wanted = read_written(self.output, name), self._wanted(analysis.video.uri, source)
        todo = list(wanted) if existing is None else _out_of_date(written.sources, wanted, name, existing)
        if not todo:
            return written
        written.forget(todo)
        written.store(self.output, name)
        for suffix in todo:
            if suffix == PAGE:
                self._replace_page(analysis, name, source, written)
            else:
                self._write(analysis, name, suffix)
            written.sources[suffix] = wanted[suffix]
        written.store(self.output, name)
        return written

    def are_written(self, sources: Mapping[str, str], uri: str, name: str, source: str, existing: Container[str]) -> bool:
        """Whether a call would write nothing.

        Args:
            sources: As in ``WrittenFiles``.
            uri: Path or URI of the video.
            name: As in a call.
            source: As in a call.
            existing: As in a call.
        """
        return not _out_of_date(sources, self._wanted(uri, source), name, existing)

    def write_page(
        self, analysis: AnalysisData, name: str, video: PageVideo | None = None, *, csv: str | None = None, index: str | None = None
    ) -> None:
        """Write the page ``name``.html, and beside it a copy of a video that browsers cannot play.

        Args:
            analysis: The analysis.
            name: Path of the page below the output folder, without suffix.
            video: Its video; None finds it, or writes the copy.
            csv: Path of the table relative to the page.
            index: Path of the list of videos relative to the page.
        """
        video = video or self._page_video(analysis, name)
        write_video_page(self.output, video_page(analysis, video=video, csv=csv, index=index), name=f"{name}{PAGE}")

    def write_overlay(self, analysis: AnalysisData, path: str) -> None:
        """Write the video with boxes and expressions to an ``.mp4`` below the output folder.

        Raises:
            ItemError: the video cannot be decoded again.
            DataError: it has changed since the analysis, or no frame of it is analyzed.
        """
        video = analysis.video
        if not len(analysis.table):
            raise DataError(f"{video.uri}: no frame is analyzed, so there is no overlay")
        self._put(path, lambda local: self._write_overlay(video.uri, analysis.table, local, end=video.analyzed_to_s))

    def close(self) -> None:
        """End the child processes."""
        self._write_overlay.close()
        self._page_video.close()

    def _wanted(self, uri: str, source: str) -> dict[str, str]:
        """Suffix of each file that is wanted -> digest of what it depends on; the page is the last."""
        config, suffixes = self.config, list(self.suffixes(uri).values())
        further = {OVERLAY: [config.encoding], PAGE: [config.encoding, config.embed, CSV in suffixes]}
        return {suffix: digest([source, *further.get(suffix, [])]) for suffix in suffixes}

    def _write(self, analysis: AnalysisData, name: str, suffix: str) -> None:
        path = f"{name}{suffix}"
        if suffix == OVERLAY:
            with suppress(ItemError, DataError):  # a damaged video that cannot be decoded again has none
                self.write_overlay(analysis, path)
        else:
            self._put(path, {CSV: analysis.to_csv, PARQUET: analysis.to_parquet}[suffix])

    def _replace_page(self, analysis: AnalysisData, name: str, source: str, written: WrittenFiles) -> None:
        """Write the page and, where it needs one, the copy of its video; delete a copy that it does not need."""
        info, path = analysis.video, f"{name}{PROXY}"
        copied_from = digest([source.rpartition("/")[2], info.frames, info.start_s, info.analyzed_to_s, self.config.encoding])
        had_copy = PROXY in written.sources
        keep = written.sources.get(PROXY) == copied_from and self.output.is_file(path)
        if had_copy and not keep:
            written.forget([PROXY])
            written.store(self.output, name)
        video = self._page_video(analysis, name, keep_proxy=keep)
        csv = f"{name.rpartition('/')[2]}{CSV}" if "csv" in self.config.formats else None
        self.write_page(analysis, name, video, csv=csv, index=f"{'../' * name.count('/')}index.html")
        written.forget([PROXY])
        if video.is_copy:
            written.sources[PROXY] = copied_from
        elif had_copy:
            self.output.delete(path)
        written.notes = (video.note,) if video.note else ()

    def _put(self, path: str, write: Callable[[Path], object]) -> None:
        with tempfile.TemporaryDirectory(prefix="abaw-output-") as folder:
            local = Path(folder) / Path(path).name
            write(local)
            self.output.put_file(local, path)


def _out_of_date(sources: Mapping[str, str], wanted: Mapping[str, str], name: str, existing: Container[str]) -> list[str]:
    """Suffixes of the wanted files that do not exist, or were written from something else."""
    return [suffix for suffix, digested in wanted.items() if sources.get(suffix) != digested or f"{name}{suffix}" not in existing]
