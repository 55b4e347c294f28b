"""Arrays -> text in a page's data. ``series.js`` decodes it."""

import base64

import numpy as np
from jaxtyping import Float, UInt8

MISSING_BYTE = 255
"""Byte for a missing value."""
_MAX_BYTE = 254
"""Byte for 1.0."""


def quantize(values: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Fractions 0..1 as bytes 0..254; ``MISSING_BYTE`` for NaN. The error is at most 0.002."""
    return np.where(np.isnan(values), MISSING_BYTE, np.rint(np.clip(np.nan_to_num(values), 0, 1) * _MAX_BYTE)).astype(np.uint8)


def to_base64(values: np.ndarray) -> str:
    """The bytes of an array in row-major order; the caller chooses a little-endian type."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
