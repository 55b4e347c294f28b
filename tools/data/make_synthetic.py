"""Draws the synthetic data set by itself, or only a sheet of its faces to look at.

python -m tools.data.make_synthetic --root runs/drawn --config.seed 3
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
from abaw_ray.data.synthetic.face.muscles import VARIANTS
from abaw_ray.data.synthetic.scene.stills import photograph
from abaw_ray.data.synthetic.tree import write_synthetic


@dataclass(frozen=True, kw_only=True)
class Make:
    """What to draw, and where to."""

    root: Path | None = None
    """Folder of the data set; nothing is written without one."""
    sheet: Path | None = None
    """Picture (PNG) of every expression, a column each, on several people."""
    people: int = 8
    """Images of each expression on the sheet."""
    workers: int = 2
    """Processes that draw."""
    config: SyntheticConfig = field(default_factory=SyntheticConfig)
    """The data set."""


def main(make: Make) -> None:
    """Write the sheet, the data set, or both."""
    if make.root is None and make.sheet is None:
        raise ConfigError("root and sheet are both missing; name a folder with --root or a picture with --sheet")
    if make.sheet is not None:
        write_sheet(make.sheet, make.config, make.people)
        echo(f"{make.sheet}: columns {', '.join(VARIANTS)}")
    if make.root is not None:
        with progress("drawing", 0, "pictures") as shown:
            counts = write_synthetic(make.root, make.config, workers=make.workers, progress=shown.reach)
        echo(f"{make.root}: {', '.join(f'{count:,} {name}' for name, count in counts.items())}")


def write_sheet(path: Path, config: SyntheticConfig, people: int) -> None:
    """Photographs of all expressions, one column each, every image another person."""
    rows = [[photograph(config, f"sheet-{name}-{at}", name).picture for name in VARIANTS] for at in range(people)]
    sheet = np.vstack([np.hstack(row) for row in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise ConfigError(f"{path}: cannot be written; name a .png in a folder that may be written")


if __name__ == "__main__":
    try:
        main(tyro.cli(Make))
    except AbawError as error:
        echo(str(error))
        raise SystemExit(error.exit_code) from None
