"""Runs the benchmark; its options are those of ``run.main``."""

import sys

import tyro

from tools.bench.stages.run import main

if __name__ == "__main__":
    sys.exit(tyro.cli(main, prog="python -m tools.bench.stages"))
