"""Stage ``images``: still images of the user's data sets to IMAGE shards, written once and read by every training node."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from abaw_ray.cluster.engine.run import Run, once_per_run
from abaw_ray.cluster.engine.stage import Stage
from abaw_ray.cluster.engine.stage_work import ItemOperator, ItemWork
from abaw_ray.cluster.stages.sources import data_of
from abaw_ray.cluster.stages.workloads.encoder import counted_images, images_workload
from abaw_ray.core import schema
from abaw_ray.core.errors import ConfigError, ItemError, StageError
from abaw_ray.core.progress import echo
from abaw_ray.core.settings import digest
from abaw_ray.core.stage_store.record import Item, Record
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.data.stills import StillImage
from abaw_ray.encoder.config import INGEST_REVISION, IngestConfig
from abaw_ray.encoder.ingest import IngestImages
from abaw_ray.faces.config import DetectorConfig
from abaw_ray.faces.detection.detect import make_detector
from abaw_ray.faces.detection.still_detector import StillDetector
from abaw_ray.faces.weights import load_detector_weights

_SHARD_SIZE = 1000
"""Number of images of a shard: about 20 MB, so that one read is quick. Ours."""

_READ_THREADS = 8
"""Threads that read columns of the shards, which is bound by storage latency. Ours."""


class ImageWork:
    """Finds the faces of the images of one shard, crops them and encodes them as JPEG; each unreadable image is a separate failure."""

    def __init__(self, config: IngestConfig, detector: DetectorConfig, weights: bytes | None, access: StorageConfig) -> None:
        detect = None if detector.kind == "given" else StillDetector(make_detector(detector, weights), detector)
        self.ingest = IngestImages(config, detect, access)

    def __call__(self, store: StageStore, item: Item, shard: dict) -> Mapping[str, float]:
        """Process one item; its payload lists the images."""
        result = self.ingest([StillImage(**{**still, "box": still["box"] and tuple(still["box"])}) for still in shard["stills"]])
        for row in result.failures:
            store.write_failure(Item(name=row["item"], identity=item.identity), ItemError(row["reason"]))
        store.storage.write_table(store.output(item), schema.conform(result.table, schema.IMAGE, stage="images"))
        return {"rows": len(result.table)}


def stills(run: Run[Any]) -> list[StillImage]:
    """All still images of the user's data sets, sorted by name.

    Raises:
        ConfigError: none were given.
    """
    from abaw_ray.data.still_images.read import read_still_images

    images = read_still_images(data_of(run), run.config.storage)
    if not images:
        raise ConfigError("no still images: give one or more of data.affectnet, data.rafdb, data.ferplus, data.expw, data.image_folders")
    return images


def shards_of(images: Iterable[StillImage]) -> dict[Item, dict]:
    """One item per shard with its images. A shard holds images of one data set and split, from which its name is derived."""
    items = {}
    for (source, split), group in itertools.groupby(images, key=lambda still: (still.source, still.split)):
        members = list(group)
        for start in range(0, len(members), _SHARD_SIZE):
            plain = [asdict(still) for still in members[start : start + _SHARD_SIZE]]
            items[Item(name=f"{source}-{split}-{start // _SHARD_SIZE:05d}", identity=digest(plain))] = {"stills": plain}
    return items


def image_counts(run: Run[Any]) -> tuple[float, float]:
    """Training and validation images: of the complete stage the written ones, else all of the data sets.

    Raises:
        PendingError: the data sets do not exist yet.
    """
    if (record := INGEST_IMAGES.record(run)) is not None:
        return counted_images(record)
    by_split = Counter(still["split"] for shard in shards(run).values() for still in shard["stills"])
    return by_split["train"], by_split["val"]


@once_per_run
def shards(run: Run[Any]) -> dict[Item, dict]:
    """All still images of the user's data sets, by shard."""
    return shards_of(stills(run))


@once_per_run
def detector_weights(run: Run[Any]) -> bytes | None:
    """YuNet's weights, which workers may not be able to download; None for another detector."""
    return load_detector_weights(run.config.faces.detector, run.config.storage)


def check(run: Run[Any]) -> None:
    """Check that the detector's weights exist, and that AffectNet's contempt images are not dropped silently.

    Raises:
        ConfigError: the weights are missing, or contempt counts as ``Other``, which is none of the encoder's classes.
    """
    detector_weights(run)
    classes = run.config.encoder.ingest.classes
    if run.config.data.contempt == "other" and "Other" not in classes:
        raise ConfigError(f"data.contempt=other: Other is none of encoder.ingest.classes={','.join(classes)}; add it there, or choose drop")


def summarize(run: Run[Any], outputs: Mapping[str, str]) -> dict[str, Any]:
    """The number of unreadable images, and figures of each data set: images by split, those without a face, and the scales of its training images.

    ``scales`` are those of the stored squares: the deciles of training images with a face, from the smallest to the largest.
    """
    columns = ["source", "split", "scale", "no_face"]
    with ThreadPoolExecutor(_READ_THREADS) as pool:
        tables = list(pool.map(lambda path: run.storage.read_table(path, columns=columns), outputs.values()))
    table = pa.concat_tables([schema.IMAGE.empty_table().select(columns), *tables])
    sources, splits = (np.array(table[name].to_pylist(), dtype=object) for name in ("source", "split"))
    scales, has_face = table["scale"].to_numpy(), table["no_face"].is_null().to_numpy()
    figures = {}
    for source in sorted(set(sources)):
        of_source = sources == source
        training = scales[of_source & has_face & (splits == "train")]
        figures[source] = {
            "train": int((of_source & (splits == "train")).sum()),
            "val": int((of_source & (splits == "val")).sum()),
            "no_face": int((of_source & ~has_face).sum()),
            "scales": [round(float(value), 3) for value in np.quantile(training, np.linspace(0, 1, 11))] if len(training) else [],
        }
    wanted = Counter(still["expression"] for item, shard in shards(run).items() if item.name in outputs for still in shard["stills"])
    used = sum(wanted[name] for name in run.config.encoder.ingest.classes)  # images of other expressions are skipped
    return {"data_sets": figures, "unreadable": used - len(table)}


def check_failures(run: Run[Any], store: StageStore, record: Record) -> None:
    """Report images without a face, and check the number of unreadable ones: the stage's items are shards, so the engine does not count images.

    Raises:
        StageError: more images than ``max_failures`` allows cannot be read.
    """
    for name, counts in record.figures["data_sets"].items():
        if counts["no_face"]:
            use = "training leaves them out" if run.config.encoder.no_face == "skip" else "training uses them whole"
            echo(f"images: {name}: no face found in {counts['no_face']:,} of {counts['train'] + counts['val']:,} images; {use} (encoder.no_face)")
    unreadable, rows = record.figures.get("unreadable", 0), record.figures["rows"]
    if not run.policy.within_budget(unreadable, unreadable + rows):
        raise StageError(
            f"images: {unreadable:,.0f} of {unreadable + rows:,.0f} cannot be read; the reasons are in {run.storage.uri(store.path)}/failures"
        )


INGEST_IMAGES = Stage(
    name="images",
    revision=INGEST_REVISION,
    settings=lambda config: {"ingest": config.encoder.ingest, "detector": config.faces.detector},
    is_needed=lambda config: not config.encoder.path,
    check=check,
    workloads=lambda run, todo: (images_workload(todo),),
    work=ItemWork(
        items=shards,
        operators=(
            ItemOperator(
                build=lambda run: partial(ImageWork, run.config.encoder.ingest, run.config.faces.detector, detector_weights(run), run.config.storage),
                resources=lambda compute: compute.decode,
            ),
        ),
        unit="shards",
        summarize=summarize,
        verify=check_failures,
    ),
    job="abaw-ray train",
)
