"""Time from a machine that has joined the cluster to the first step of a training that waited for it."""

import os
import re
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue] (generated code)

from abaw_ray.core.errors import StageError

_STORE_MEMORY = 100_000_000
_PATIENCE_S = 300.0
"""Longest time to each event. Ours."""


def first_step(folder: Path, rounds: int) -> dict[str, Any]:
    """Train the encoder of the preset smoke with two ranks on a Ray whose second machine, with one CPU like the first, joins while the training
    waits. The model is the smallest: the time is that of processes, imports and DeepSpeed. Weights of ViT-L/14 (1.2 GB) and images are read in
    addition.

    Args:
        folder: For the results; a new one.
        rounds: Number of trainings.

    Returns:
        ``first_step_s``: seconds from the join of the machine to the first step, the median of ``rounds_s``.

    Raises:
        StageError: a training failed, or something took longer than five minutes.
    """
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": _STORE_MEMORY, "include_dashboard": False})
    cluster.add_node(num_cpus=1, object_store_memory=_STORE_MEMORY)
    machine = cluster.add_node(num_cpus=1, object_store_memory=_STORE_MEMORY)
    environment = {**os.environ, "RAY_ADDRESS": str(cluster.address)}
    try:
        _train(folder, 1, environment).finish()  # prepares the images
        seconds = []
        for epochs in range(2, rounds + 2):  # other settings, so that it is trained again
            cluster.remove_node(machine)
            training = _train(folder, epochs, environment)
            training.wait_for("waiting")
            machine = cluster.add_node(num_cpus=1, object_store_memory=_STORE_MEMORY)
            joined = time.time()
            training.finish()
            seconds.append(_first_step(folder) - joined)
        return {"first_step_s": statistics.median(seconds), "rounds_s": seconds}
    finally:
        cluster.shutdown()


def _first_step(folder: Path) -> float:
    """When the first step of the last training ended, in seconds since 1970, by its event file; records are length, checksum, event, checksum."""
    data = max(folder.glob("training/encoder/*/outputs/*/tensorboard/*"), key=lambda path: path.stat().st_mtime).read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        event = Event.FromString(data[12 : 12 + length])
        if event.summary.value:
            return event.wall_time
        data = data[16 + length :]
    raise StageError(f"{folder}: the event file of the training has no step")


class _Training:
    """A running ``abaw-ray train`` and what it prints."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self.log = log
        with log.open("w") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=Path(__file__).parents[3])

    def wait_for(self, pattern: str) -> None:
        """Wait until a line matches."""
        deadline = time.monotonic() + _PATIENCE_S
        while not re.search(pattern, self.log.read_text()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise self._error(f"'{pattern}' was not printed")
            time.sleep(0.05)

    def finish(self) -> None:
        """Wait for the end."""
        if self.process.wait(_PATIENCE_S):
            raise self._error(f"ended with {self.process.returncode}")

    def _error(self, text: str) -> StageError:
        self.process.terminate()
        return StageError(f"{self.log}: {text}: {self.log.read_text()[-2000:]}")


def _train(folder: Path, epochs: int, environment: dict[str, str]) -> _Training:
    options = {"storage": folder / "training", "data.synthetic-dir": folder / "synthetic", "encoder.epochs": epochs, "compute.log-every-n-steps": 1}
    command = [sys.executable, "-u", "jobs/train_encoder.py", "smoke", "--cluster-size", "cpu-2"]
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return _Training(command, folder / f"train-{epochs}.log", environment)
