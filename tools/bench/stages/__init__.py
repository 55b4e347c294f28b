"""Rates of the stages that no other benchmark measures. One thread, set before ``run`` imports NumPy and torch, which read it then."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
