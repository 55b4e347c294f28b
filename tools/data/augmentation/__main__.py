"""Runs the comparison; its options are those of ``run.main``."""

import tyro

from tools.data.augmentation.run import main

if __name__ == "__main__":
    tyro.cli(main, prog="python -m tools.data.augmentation")
