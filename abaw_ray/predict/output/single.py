"""The page and the overlay of a single analysis, for the methods of ``Analysis``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.videos import is_image
from abaw_ray.predict.analysis_data import AnalysisData
from abaw_ray.predict.config import OutputConfig
from abaw_ray.predict.output.files import OutputWriter


def write_page(analysis: AnalysisData, path: Path, *, embed: bool = False) -> Path:
    """As ``Analysis.report``."""
    if path.suffix != ".html":
        raise ConfigError(f"{path}: a page ends in .html")
    with _writer(path, OutputConfig(embed=embed)) as writer:
        writer.write_page(analysis, path.stem)
    return path


def write_overlay(analysis: AnalysisData, path: Path) -> Path:
    """As ``Analysis.overlay``."""
    if path.suffix != ".mp4":
        raise ConfigError(f"{path}: an overlay ends in .mp4")
    if is_image(analysis.video.uri):
        raise ConfigError(f"{analysis.video.uri}: is an image; only videos have an overlay")
    with _writer(path, OutputConfig()) as writer:
        writer.write_overlay(analysis, path.name)
    return path


@contextmanager
def _writer(path: Path, config: OutputConfig) -> Iterator[OutputWriter]:
    writer = OutputWriter(Storage(StorageConfig(uri=str(path.parent))), config, ChildLimits())
    try:
        yield writer
    finally:
        writer.close()
