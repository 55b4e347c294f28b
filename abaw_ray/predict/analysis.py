"""The result of analyzing one video: its data, and the page and the overlay video that show it."""

from pathlib import Path

from abaw_ray.predict.analysis_data import AnalysisData, read_as
from abaw_ray.predict.output.single import write_overlay, write_page


class Analysis(AnalysisData):
    """The analysis of one video."""

    def report(self, path: str | Path, *, embed: bool = False) -> Path:
        """Write the page of the video, an HTML file, and beside it a copy of a video that browsers cannot play; returns the path.

        Args:
            path: The page.
            embed: Put the video, or its copy, into the page, up to 20 MB. A larger one is linked, and the page says so.

        Raises:
            ConfigError: the path does not end in ``.html``.
            StorageError: a file cannot be written, or the video cannot be read.
        """
        return write_page(self, Path(path), embed=embed)

    def overlay(self, path: str | Path) -> Path:
        """Write the video with boxes, expressions and its sound, an MP4 file; returns the path.

        Raises:
            ConfigError: the path does not end in ``.mp4``, or the analysis is of an image.
            DataError: the video has changed since the analysis, or no longer exists; or no frame of it is analyzed.
            ItemError: it cannot be decoded again.
            StorageError: the file cannot be written, or the video cannot be read.
        """
        return write_overlay(self, Path(path))


def read_analysis(path: str | Path) -> Analysis:
    """Read what ``Analysis.to_parquet`` wrote.

    Raises:
        DataError: the file was not written by it.
    """
    return read_as(Analysis, path)
