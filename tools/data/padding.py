"""How much of real chips lies outside of the picture, as settings of PadAug, and a contact sheet of real and simulated padding.

python -m tools.data.padding runs/paper/faces --out padding.png
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import tyro
from jaxtyping import Float, UInt8
from PIL import Image

from abaw_ray.core.errors import AbawError, DataError
from abaw_ray.core.progress import echo
from abaw_ray.encoder.augmentation.config import PadAugConfig
from abaw_ray.encoder.augmentation.padaug import apply_border, sample_border
from abaw_ray.encoder.augmentation.view import center_crop
from abaw_ray.faces.chips import decode_jpeg
from abaw_ray.faces.config import ChipConfig
from tools.bench.table import report_error

_QUANTILES = np.linspace(0, 1, 5)
_COMPLETE = 0.999
"""Chips with a larger fraction inside have no visible black."""
_CELL, _GAP = 96, 4
"""Pixels."""


def main(faces: tyro.conf.Positional[Path], out: Path = Path("padding.png"), columns: int = 10, rows: int = 3, seed: int = 0) -> int:
    """Print the settings that simulate the padding of these faces, and draw real chips above simulated ones.

    Args:
        faces: Outputs of the stage 'faces': a file (.parquet), or a folder with some.
        out: The image.
        columns: Chips per row.
        rows: Rows of real chips, and of simulated ones.
        seed: Seed of the simulated padding.
    """
    try:
        paths = _paths(faces)
        inside = np.concatenate([_inside(path) for path in paths])
        settings = padding_settings(inside)
        echo(f"{len(inside):,} chips of {len(paths):,} videos; {settings.probability:.1%} are padded")
        values = " ".join(f"{value:.3g}" for value in settings.inside)
        echo(f"--encoder.augment.padaug.probability {settings.probability:.3g} --encoder.augment.padaug.inside {values}")
        count = columns * rows
        real, complete = (_chips(paths, count, padded=padded) for padded in (True, False))
        Image.fromarray(contact_sheet([real, simulated(complete, settings, seed)], columns)).save(out)
        echo(str(out))
    except AbawError as error:
        return report_error(error)
    return 0


def padding_settings(inside: Float[np.ndarray, " chips"]) -> PadAugConfig:
    """The settings that give this distribution of fractions inside the picture."""
    padded = inside[inside < _COMPLETE]
    quantiles = np.quantile(padded, _QUANTILES).clip(0.25, 1.0) if len(padded) else np.ones(len(_QUANTILES))
    return PadAugConfig(probability=len(padded) / max(len(inside), 1), inside=tuple(float(value) for value in quantiles))


def simulated(chips: list[UInt8[np.ndarray, "side side 3"]], settings: PadAugConfig, seed: int) -> list[UInt8[np.ndarray, "side side 3"]]:
    """Complete chips with black as training adds it, at the chips' largest scale."""
    largest, always = ChipConfig().scales[-1], PadAugConfig(probability=1.0, inside=settings.inside, opposite=settings.opposite)
    borders = (sample_border(np.random.default_rng([seed, number]), always, largest) for number in range(len(chips)))
    return [apply_border(chip.copy(), border, largest, np.zeros(2)) for chip, border in zip(chips, borders, strict=True)]


def contact_sheet(groups: list[list[UInt8[np.ndarray, "side side 3"]]], columns: int) -> UInt8[np.ndarray, "height width 3"]:
    """The chips of each group in rows, on white; a wide gap between the groups."""
    bands = []
    for group in groups:
        for start in range(0, len(group), columns):
            band = np.full((_CELL + _GAP, columns * (_CELL + _GAP), 3), 255, np.uint8)
            for column, chip in enumerate(group[start : start + columns]):
                x = column * (_CELL + _GAP)
                band[:_CELL, x : x + _CELL] = center_crop(np.ascontiguousarray(chip), size=_CELL, stored_scale=1.0, scale=1.0)
            bands.append(band)
        bands.append(np.full((4 * _GAP, columns * (_CELL + _GAP), 3), 255, np.uint8))
    return np.concatenate(bands)


def _paths(faces: Path) -> list[Path]:
    paths = [faces] if faces.is_file() else sorted(faces.rglob("*.parquet"))
    paths = [path for path in paths if {"inside", "chip"} <= set(pq.read_schema(path).names)]
    if not paths:
        raise DataError(f"{faces}: no output of the stage 'faces'; give a file or a folder of its results")
    return paths


def _inside(path: Path) -> Float[np.ndarray, " chips"]:
    return pq.read_table(path, columns=["inside"])["inside"].drop_null().to_numpy().astype(np.float64)


def _chips(paths: list[Path], count: int, *, padded: bool) -> list[UInt8[np.ndarray, "side side 3"]]:
    """Padded or complete chips of all videos, evenly spaced."""
    found = []
    for path in paths:
        inside = pq.read_table(path, columns=["inside"])["inside"].to_numpy(zero_copy_only=False).astype(np.float64)
        rows = np.flatnonzero(inside < _COMPLETE if padded else inside >= _COMPLETE)
        chosen = rows[np.unique(np.linspace(0, len(rows) - 1, -(-count // len(paths))).astype(int))] if len(rows) else rows
        chips = pq.read_table(path, columns=["chip"]).take(chosen)["chip"].to_pylist()
        found += [decode_jpeg(chip) for chip in chips]
    return found[:count]


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
