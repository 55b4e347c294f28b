"""Measured rates of an analysis on one CPU core: what ``--plan`` multiplies. The benchmark prints them as they are written here."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Rates:
    """CPU time of one core in milliseconds, and bytes of output."""

    source: str
    """Date, machine and command of the measurement."""
    frame_ms: float
    """Decoding a frame, finding, tracking and cropping one face: the part that does not depend on the frame's size."""
    megapixel_ms: float
    """The same: per megapixel of a frame."""
    sound_ms: float
    """Decoding a second of sound."""
    image_ms: float
    """One image of the encoder: the part that does not depend on the encoder's size (chip to pixels, overhead of small networks)."""
    gflop_ms: float
    """The same: per 10^9 operations."""
    speech_ms: float
    """A second of audio in the speech model: the part that does not depend on its size."""
    speech_gflop_ms: float
    """The same: per 10^9 operations."""
    row_ms: float
    """One row: fusion, smoothing, table and page."""
    encode_ms: float
    """Decoding, drawing and encoding a megapixel of an overlay video or of a proxy."""
    csv_bytes: float
    """One row of CSV."""
    parquet_bytes: float
    """One row of Parquet, also in the cache."""
    parquet_base_bytes: float
    """A Parquet file without rows: its schema, a picture of the main person, and the loudness."""
    page_bytes: float
    """One row in a page."""
    page_base_bytes: float
    """A page without rows."""
    encoded_bytes: float
    """A megapixel of a frame in an overlay video or in a proxy."""
    chip_bytes: float
    """A square pixel of a stored face crop."""


@dataclass(frozen=True, kw_only=True)
class GpuRates:
    """Throughput of one GPU with a stated model."""

    source: str
    """Machine and date of the measurement."""
    frames_per_s: float
    """All features of a video, one face per frame."""
    frame_gflop: float
    """Arithmetic of the encoder per frame with that model, in 10^9 operations."""
