"""The result of analyzing one video: the ANALYSIS table, and what a page about it needs. One Parquet file holds all of it."""

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from jaxtyping import Float32

from abaw_ray.core import schema
from abaw_ray.core.errors import DataError
from abaw_ray.core.settings import from_plain, to_plain

_T = TypeVar("_T", bound="AnalysisData")
_KEY = b"abaw_ray.analysis"
"""Key of the Parquet file's metadata."""


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """Facts about the video and its analyzed part, from decoding it."""

    name: str
    """Name in the user's input, as in the table."""
    uri: str
    """Path or URI of the file."""
    width: int
    """Pixels of the first upright frame."""
    height: int
    """Pixels of the first upright frame."""
    frames: int
    """Number of the last analyzed frame, counted from the first frame of the video; 0 where no frame is analyzed."""
    start_s: float
    """Presentation time of the first frame of the video in seconds, whether it is analyzed or not."""
    duration_s: float
    """From the first analyzed frame to the end of the last one, in seconds; 0 for a single frame."""
    audio: str = "present"
    """``present``, ``absent``, ``unused`` where the model reads none, or why it cannot be decoded."""
    damage: str = ""
    """Damage at which a browser would stop, or play sound at a wrong time; empty where none was found."""
    analyzed_from_s: float | None = None
    """Earliest time of an analyzed frame, in seconds: halfway between the first one and the frame before it; None where there is none before it."""
    analyzed_to_s: float | None = None
    """End of the analyzed frames, in seconds: halfway between the last one and the frame after it; None where it is the last that was decoded."""
    end_s: float = 0.0
    """End of the last analyzed frame, in seconds; 0 where no frame is analyzed."""


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """The model that made the scores."""

    name: str
    identity: str
    """Digest of the model's inputs."""
    license: str
    """Identifier of its license."""
    notices: tuple[str, ...] = ()
    """Sentences that must be shown with every result."""


@dataclass(frozen=True, kw_only=True)
class AudioLevel:
    """Loudness of the sound at regular times."""

    start_s: float
    """Time of the first value in seconds."""
    interval_s: float
    """Seconds between two values."""
    dbfs: Float32[np.ndarray, " n"]
    """RMS level in decibels of full scale; NaN where there is no audio."""


@dataclass(frozen=True, kw_only=True)
class AnalysisData:
    """The analysis of one video, without the files that show it: their writers read it."""

    table: pa.Table
    """Rows of ``schema.ANALYSIS``, by person, frames ascending."""
    video: VideoInfo
    model: ModelInfo
    level: AudioLevel | None = None
    """Loudness of the sound; None where there is none."""
    thumbnail: bytes | None = None
    """JPEG of the main person's face; None where no face was detected."""
    notes: tuple[str, ...] = ()
    """Remarks about this result: no face, broken audio, decoding that stopped early."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the analysis as plain values."""

    @property
    def people(self) -> list[str]:
        """Names of the people, the main person first."""
        return self.table["person"].unique().to_pylist()

    def to_pandas(self) -> Any:
        """The table as a pandas ``DataFrame``; missing values are ``NaN`` or ``None``."""
        return self.table.to_pandas()

    def to_csv(self, path: str | Path) -> Path:
        """Write the table as CSV in UTF-8: missing values are empty, booleans 0 or 1; returns the path."""
        path = Path(path)
        with pyarrow.csv.CSVWriter(path, _csv_schema(), write_options=pyarrow.csv.WriteOptions(quoting_style="needed")) as writer:
            writer.write_table(self.table.cast(_csv_schema()))
        return path

    def to_parquet(self, path: str | Path) -> Path:
        """Write the table as Parquet; returns the path. ``read_as`` reads it back with everything else."""
        path = Path(path)
        pq.write_table(self.table.replace_schema_metadata({_KEY: json.dumps(self._metadata()).encode()}), path, compression="zstd")
        return path

    def _metadata(self) -> dict[str, Any]:
        level = self.level and {
            "start_s": self.level.start_s,
            "interval_s": self.level.interval_s,
            "dbfs": [None if np.isnan(value) else round(float(value), 1) for value in self.level.dbfs],
        }
        return {
            "video": to_plain(self.video),
            "model": to_plain(self.model),
            "level": level,
            "thumbnail": self.thumbnail and base64.b64encode(self.thumbnail).decode(),
            "notes": list(self.notes),
            "settings": self.settings,
        }


def read_as(kind: type[_T], path: str | Path) -> _T:
    """Read what ``to_parquet`` wrote, as an object of this class.

    Raises:
        DataError: the file was not written by it.
    """
    table = pq.ParquetFile(path).read()
    if _KEY not in (table.schema.metadata or {}):
        raise DataError(f"{path}: is not an analysis; give a Parquet file that abaw-ray analyze wrote")
    plain = json.loads(table.schema.metadata[_KEY])
    level = plain["level"] and AudioLevel(**{**plain["level"], "dbfs": np.array(plain["level"]["dbfs"], dtype=np.float32)})
    return kind(
        table=table.replace_schema_metadata(None).cast(schema.ANALYSIS),
        video=from_plain(VideoInfo, plain["video"]),
        model=from_plain(ModelInfo, plain["model"]),
        level=level,
        thumbnail=plain["thumbnail"] and base64.b64decode(plain["thumbnail"]),
        notes=tuple(plain["notes"]),
        settings=plain["settings"],
    )


def _csv_schema() -> pa.Schema:
    """The schema with integers for booleans."""
    return pa.schema([field.with_type(pa.int8()) if pa.types.is_boolean(field.type) else field for field in schema.ANALYSIS])
