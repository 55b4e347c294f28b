"""Writes the synthetic data set, or an image with a sample of its faces.

python -m tools.data.make_synthetic --root runs/synthetic --config.seed 3
python -m tools.data.make_synthetic --sheet faces.png
"""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import tyro

from abaw_ray.core.errors import AbawError, ConfigError
from abaw_ray.core.progress import echo, progress
from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.face.action_units import EXPRESSION_VARIANTS
from abaw_ray.data.synthetic.scene.stills import render_photo
from abaw_ray.data.synthetic.tree import write_synthetic


@dataclass(frozen=True, kw_only=True)
class Make:
    """Outputs and settings of a run."""

    root: Path | None = None
    """Folder of the data set; without one the data set is not written."""
    sheet: Path | None = None
    """PNG file with one column per expression and one row per identity."""
    rows: int = 8
    """Identities per expression on the sheet."""
    workers: int = 2
    """Rendering processes."""
    config: SyntheticConfig = field(default_factory=SyntheticConfig)
    """Settings of the data set."""


def main(make: Make) -> None:
    """Write the sheet, the data set, or both."""
    if make.root is None and make.sheet is None:
        raise ConfigError("root and sheet are both missing; pass a folder with --root or an image file with --sheet")
    if make.sheet is not None:
        write_sheet(make.sheet, make.config, make.rows)
        echo(f"{make.sheet}: columns {', '.join(EXPRESSION_VARIANTS)}")
    if make.root is not None:
        with progress("synthetic", 0, "images") as shown:
            counts = write_synthetic(make.root, make.config, workers=make.workers, progress=shown.set_done)
        echo(f"{make.root}: {', '.join(f'{count:,} {name}' for name, count in counts.items())}")


def write_sheet(path: Path, config: SyntheticConfig, count: int) -> None:
    """Write one image with a column per expression and ``count`` rows; every face has another identity."""
    rows = [[render_photo(config, f"sheet-{name}-{at}", name).image for name in EXPRESSION_VARIANTS] for at in range(count)]
    sheet = np.vstack([np.hstack(row) for row in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise ConfigError(f"{path}: cannot be written; pass a .png file in a writable folder")


if __name__ == "__main__":
    try:
        main(tyro.cli(Make))
    except AbawError as error:
        echo(str(error))
        raise SystemExit(error.exit_code) from None
