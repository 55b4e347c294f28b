"""Runs the benchmark; its options are those of ``run.main``."""

import os
import sys

import tyro

from tools.bench.fusion.run import main

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(tyro.cli(main, prog="python -m tools.bench.fusion"))
