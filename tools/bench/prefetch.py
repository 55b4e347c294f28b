"""Features of videos with and without prefetching the next video: videos per second of one and of two workers on this machine.

python -m tools.bench.prefetch
"""

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import pyarrow as pa
import torch
import tyro

from abaw_ray.cluster.engine.workers.rounds import Chain, stream
from abaw_ray.cluster.engine.workers.worker import Operator
from abaw_ray.cluster.launch.presets import DEMO
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.features import FeatureWork
from abaw_ray.core.errors import StageError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.progress import echo, redirect_library_output
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.folders import upload_folder
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.checkpoint import save_encoder
from abaw_ray.encoder.model import build_encoder
from abaw_ray.faces.crop import CropFaces
from abaw_ray.features.config import DeviceConfig
from tools.bench.analyze.videos import draw_video
from tools.bench.table import metadata, rounded

_FACES = "faces/video.parquet"


class DistantFeatureWork(FeatureWork):
    """Feature extraction from a store whose reads take longer than those of this disk."""

    def __init__(self, *args: object, wait_s: float) -> None:
        super().__init__(*args)  # pyright: ignore[reportArgumentType]
        self._wait_s = wait_s

    def __call__(self, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        """Process one item; where it waits for the store, it does not hold the device."""
        time.sleep(self._wait_s)
        return super().__call__(store, item, payload)


@dataclass(frozen=True)
class Bench:
    """Inputs of all runs: copies of one video with its faces, and the demo's models with random weights."""

    storage: Storage
    videos: list[Path]

    def seconds_per_video(self, name: str, *, workers: int, items_per_worker: int, wait_s: float) -> float:
        """Return the time per video from the first finished one of each worker to the last one."""
        store = StageStore(self.storage, name, {"workers": workers, "items": items_per_worker, "wait": wait_s}, 1)
        device = DeviceConfig(device="cpu")
        build = partial(DistantFeatureWork, DEMO.features, DEMO.faces.chips, self.storage, "encoder", device, ChildLimits(), wait_s=wait_s)
        operator = Operator(build=build, resources=Resources(workers=workers, memory_gb=0.5), items_per_worker=items_per_worker)
        tasks = [(Item(name=video.stem, identity=name), {"faces": _FACES, "uri": str(video)}) for video in self.videos]
        times = [time.monotonic() for row in stream(store, tasks, Chain(operators=[operator]), {}, frozenset()) if row["finished"]]
        tables = [self.storage.read_table(path) for path in store.finished([item for item, _ in tasks]).values()]
        if len(times) != len(tasks) or not all(table.equals(tables[0]) for table in tables):
            raise StageError(f"{name}: the copies of one video have different features")
        return (times[-1] - times[workers - 1]) / (len(times) - workers)


def prepare(folder: Path, *, videos: int, seconds: float) -> Bench:
    """Draw a video, find its faces, copy it, and save the encoder."""
    storage = Storage(StorageConfig(uri=str(folder / "store")))
    video = draw_video(folder / "video.mp4", (320, 240), seconds, 30)
    storage.write_table(_FACES, pa.concat_tables(CropFaces(DEMO.faces)({"video": "bench", "uri": str(video), "subjects": []})))
    torch.manual_seed(0)
    save_encoder(folder / "encoder", build_encoder(replace(DEMO.encoder.model, weights="random")))
    upload_folder(folder / "encoder", storage, "encoder")
    copies = [Path(shutil.copyfile(video, folder / f"{number}.mp4")) for number in range(videos)]
    return Bench(storage, copies)


def main(videos: int = 8, seconds: float = 10.0, workers: tuple[int, ...] = (1, 2), waits: tuple[float, ...] = (0.0, 1.0), rounds: int = 3) -> int:
    """Print the seconds per video of each case, and the ratios of the rate with prefetching to that without it.

    Args:
        videos: Copies of the video in a run.
        seconds: Length of the video.
        workers: Numbers of workers.
        waits: Seconds by which the reads of one video are delayed, as by a distant store.
        rounds: Runs of each case; cases alternate, and ratios are medians over rounds.
    """
    cases, ratios = list(product(workers, waits)), {}
    with tempfile.TemporaryDirectory(prefix="abaw-bench-") as name, redirect_library_output(Path(name) / "ray.log"):
        bench = prepare(Path(name), videos=videos, seconds=seconds)
        with RaySession(ComputeConfig(local_cpus=2, object_store_mb=80)) as session:
            session.start()
            for number, (count, wait_s) in product(range(rounds), cases):
                off, on = (bench.seconds_per_video(f"round{number}", workers=count, items_per_worker=n, wait_s=wait_s) for n in (1, 2))
                ratios.setdefault((count, wait_s), []).append(off / on)
                echo(f"round {number + 1}, {count} workers, reads {wait_s:g} s later: {off:.2f} s per video, with prefetching {on:.2f} s")
    for (count, wait_s), values in ratios.items():
        echo(f"{count} workers, {wait_s:g} s: {statistics.median(values):.2f} times as fast; rounds {rounded(values)}")
    echo(str(metadata("torch")))
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, prog="python -m tools.bench.prefetch"))
