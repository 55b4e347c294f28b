"""How much of real chips lies outside of the picture, as settings of PadAug; what these cover of the face; a contact sheet of both paddings.

python -m tools.data.padding runs/paper/faces --out padding.png
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import tyro
from jaxtyping import Float, Int, UInt8
from PIL import Image

from abaw_ray.core.errors import AbawError, DataError
from abaw_ray.core.progress import echo
from abaw_ray.encoder.augmentation.config import PadAugConfig
from abaw_ray.encoder.augmentation.padaug import Border, apply_border, sample_border
from abaw_ray.encoder.augmentation.view import center_crop
from abaw_ray.faces.chips import decode_jpeg
from abaw_ray.faces.config import ChipConfig
from abaw_ray.media.square_crop import square_around
from tools.bench.table import report_error

_QUANTILES = np.linspace(0, 1, 5)
_COMPLETE = 0.999
"""Chips with a larger fraction inside have no visible black."""
_DARK = 16
"""A line of a chip whose pixels are all darker lies outside of the picture; JPEG leaves no exact 0."""
_ROUNDING = 1e-4
"""Of fractions, which the table has in single precision."""
_SAMPLE = 2000
"""Padded chips whose sides are examined, and simulated views."""
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
        settings = padding_settings(inside, opposite_share(paths, seed))
        shares = f"{settings.probability:.1%} are padded, {settings.opposite:.1%} of these on opposite sides"
        echo(f"{len(inside):,} chips of {len(paths):,} videos; {shares}")
        option, values = "--encoder.augment.padaug", " ".join(f"{value:.3g}" for value in settings.inside)
        echo(f"{option}.probability {settings.probability:.3g} {option}.opposite {settings.opposite:.3g} {option}.inside {values}")
        for name, config in (("these settings", settings), ("the default", PadAugConfig())):
            echo(f"training views that {name} pad: {describe_covered(config, seed)}")
        count = columns * rows
        real, complete = (_chips(paths, count, padded=padded) for padded in (True, False))
        Image.fromarray(contact_sheet([real, simulated(complete, settings, seed)], columns)).save(out)
        echo(str(out))
    except AbawError as error:
        return report_error(error)
    return 0


def padding_settings(inside: Float[np.ndarray, " chips"], opposite: float) -> PadAugConfig:
    """The settings that give this distribution of fractions inside the picture, and this fraction of black on opposite sides."""
    padded = inside[inside < _COMPLETE]
    quantiles = np.quantile(padded, _QUANTILES).clip(0.25, 1.0) if len(padded) else np.ones(len(_QUANTILES))
    return PadAugConfig(probability=len(padded) / max(len(inside), 1), inside=tuple(float(value) for value in quantiles), opposite=opposite)


def opposite_share(paths: list[Path], seed: int) -> float:
    """Fraction of the padded chips that are cut off on two opposite sides, of a random sample of them; 0 without any."""
    padded = [np.flatnonzero(_inside_of_rows(path) < _COMPLETE) for path in paths]
    total = sum(map(len, padded))
    chosen = np.random.default_rng(seed).permutation(total)[:_SAMPLE]
    starts, found = np.cumsum([0, *map(len, padded)]), []
    for path, rows, first in zip(paths, padded, starts, strict=False):
        places = np.sort(chosen[(chosen >= first) & (chosen < first + len(rows))]) - first
        if not len(places):
            continue
        found += [is_cut_on_opposite_sides(*one) for one in _padded_chips(path, rows[places])]
    return float(np.mean(found)) if found else 0.0


def is_cut_on_opposite_sides(chip: UInt8[np.ndarray, "side side 3"], box: Float[np.ndarray, "4"], inside: float, scale: float) -> bool:
    """Whether the chip extends beyond the picture on two opposite sides.

    What lies beyond the left and upper end follows from the box, and what lies beyond the other two together from ``inside``. Which of these two it
    is, is seen in the chip: its outermost line is black. So a dark background is mistaken for the end of the picture only in a corner.

    Args:
        chip: As stored.
        box: x0 y0 x1 y1 in pixels of the frame.
        inside: Fraction of the chip that lies inside the frame.
        scale: Side of the chip over the longer side of the box.
    """
    left, top, side = square_around(box, scale)
    cut_left, cut_top = max(-left, 0) / side, max(-top, 0) / side
    if inside > (1 - cut_left) * (1 - cut_top) - _ROUNDING:
        return False
    right, bottom = (int(line.max()) < _DARK for line in (chip[:, -1], chip[-1]))
    return (cut_left > 0 and right) or (cut_top > 0 and bottom)


def describe_covered(settings: PadAugConfig, seed: int) -> str:
    """How many of the padded views lose a part of the face box to black, and how much of it."""
    covered = np.array([border.covered() for border in _borders(settings, _SAMPLE, seed)])
    lost = covered[covered > 0]
    mean, largest = (float(lost.mean()), float(lost.max())) if len(lost) else (0.0, 0.0)
    return f"{len(lost) / len(covered):.0%} lose a part of the face box, {mean:.0%} of its area on average, at most {largest:.0%}"


def simulated(chips: list[UInt8[np.ndarray, "side side 3"]], settings: PadAugConfig, seed: int) -> list[UInt8[np.ndarray, "side side 3"]]:
    """Complete chips with black as training adds it, at the chips' largest scale."""
    borders, largest = _borders(settings, len(chips), seed), ChipConfig().scales[-1]
    return [apply_border(chip.copy(), border, largest, np.zeros(2)) for chip, border in zip(chips, borders, strict=True)]


def _borders(settings: PadAugConfig, count: int, seed: int) -> list[Border]:
    """Ends of the picture around faces, of padded views only."""
    always = replace(settings, probability=1.0)
    return [sample_border(np.random.default_rng([seed, number]), always, ChipConfig().scales[-1]) for number in range(count)]


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
    inside = _inside_of_rows(path)
    return inside[~np.isnan(inside)]


def _inside_of_rows(path: Path) -> Float[np.ndarray, " rows"]:
    """NaN for a row without a chip."""
    return pq.read_table(path, columns=["inside"])["inside"].to_numpy(zero_copy_only=False).astype(np.float64)


def _chips(paths: list[Path], count: int, *, padded: bool) -> list[UInt8[np.ndarray, "side side 3"]]:
    """Padded or complete chips of all videos, evenly spaced."""
    found = []
    for path in paths:
        inside = _inside_of_rows(path)
        rows = np.flatnonzero(inside < _COMPLETE if padded else inside >= _COMPLETE)
        chosen = rows[np.unique(np.linspace(0, len(rows) - 1, -(-count // len(paths))).astype(int))] if len(rows) else rows
        found += _decoded(path, chosen)
    return found[:count]


def _decoded(path: Path, rows: Int[np.ndarray, " chosen"]) -> Iterator[UInt8[np.ndarray, "side side 3"]]:
    """The chips of these rows."""
    return (decode_jpeg(chip.as_py()) for chip in pq.read_table(path, columns=["chip"]).take(rows)["chip"])


def _padded_chips(path: Path, rows: Int[np.ndarray, " chosen"]) -> Iterator[tuple[UInt8[np.ndarray, "side side 3"], np.ndarray, float, float]]:
    """The arguments of ``is_cut_on_opposite_sides`` for these rows. The scale follows from the sides of chip and box, to less than a hundredth."""
    facts = pq.read_table(path, columns=["box", "inside", "chip_scale"]).take(rows).to_pylist()
    for chip, row in zip(_decoded(path, rows), facts, strict=True):
        box = np.array(row["box"])
        longer = max(box[2] - box[0], box[3] - box[1])
        yield chip, box, row["inside"], len(chip) / row["chip_scale"] / longer


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
