"""Stage ``images``: still images of the user's data sets to IMAGE shards, written once and read by every training node."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from abaw_ray.cluster.engine.run import Run, once_per_run
from abaw_ray.cluster.engine.stage import ItemOperator, ItemWork, Stage
from abaw_ray.cluster.stages.sources import data_of
from abaw_ray.core import schema
from abaw_ray.core.errors import ConfigError, ItemError, StageError
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.records import Item, Record, StageStore
from abaw_ray.data.stills import StillImage
from abaw_ray.encoder.config import INGEST_REVISION, IngestConfig
from abaw_ray.encoder.ingest import IngestImages

_SHARD_SIZE = 1000
"""Number of images of a shard: about 20 MB, so that one read is quick. Ours."""


class ImageWork:
    """Crops the images of one shard and encodes them as JPEG; each unreadable image is a separate failure."""

    def __init__(self, config: IngestConfig, access: StorageConfig) -> None:
        self.ingest = IngestImages(config, access)

    def __call__(self, store: StageStore, item: Item, shard: dict) -> Mapping[str, float]:
        """Process one item; its payload lists the images."""
        result = self.ingest([StillImage(**{**still, "box": still["box"] and tuple(still["box"])}) for still in shard["stills"]])
        for row in result.failures:
            store.write_failure(Item(name=row["item"], identity=item.identity), ItemError(row["reason"]))
        store.storage.write_table(store.output(item), schema.conform(result.table, schema.IMAGE, stage="images"))
        return {"rows": len(result.table), "unreadable": len(result.failures), "skipped": result.skipped}


def stills(run: Run[Any]) -> list[StillImage]:
    """All still images of the user's data sets, sorted by name.

    Raises:
        ConfigError: none were given.
    """
    from abaw_ray.data.affectnet import read_affectnet
    from abaw_ray.data.rafdb import read_rafdb

    data, images = data_of(run), list[StillImage]()
    if data.affectnet:
        images += read_affectnet(data.affectnet, contempt=data.contempt, storage=run.config.storage)
    if data.rafdb:
        images += read_rafdb(data.rafdb, storage=run.config.storage)
    if not images:
        raise ConfigError("no still images: give data.affectnet, data.rafdb or both")
    return sorted(images, key=lambda still: (still.source, still.split, still.name))


def shards_of(images: Iterable[StillImage]) -> dict[Item, dict]:
    """One item per shard with its images. A shard holds images of one data set and split, from which its name is derived."""
    items = {}
    for (source, split), group in itertools.groupby(images, key=lambda still: (still.source, still.split)):
        members = list(group)
        for start in range(0, len(members), _SHARD_SIZE):
            plain = [asdict(still) for still in members[start : start + _SHARD_SIZE]]
            items[Item(name=f"{source}-{split}-{start // _SHARD_SIZE:05d}", identity=digest(plain))] = {"stills": plain}
    return items


@once_per_run
def shards(run: Run[Any]) -> dict[Item, dict]:
    """All still images of the user's data sets, by shard."""
    return shards_of(stills(run))


def check_contempt(run: Run[Any]) -> None:
    """Check that AffectNet's contempt images are not dropped silently.

    Raises:
        ConfigError: contempt counts as ``Other``, which is none of the encoder's classes.
    """
    classes = run.config.encoder.ingest.classes
    if run.config.data.contempt == "other" and "Other" not in classes:
        raise ConfigError(f"data.contempt=other: Other is none of encoder.ingest.classes={','.join(classes)}; add it there, or choose drop")


def check_failures(run: Run[Any], store: StageStore, record: Record) -> None:
    """Check the number of unreadable images: the stage's items are shards, so the engine does not count images.

    Raises:
        StageError: more images than ``max_failures`` allows cannot be read.
    """
    unreadable, rows = record.figures.get("unreadable", 0), record.figures["rows"]
    if not run.policy.within_budget(unreadable, unreadable + rows):
        raise StageError(
            f"images: {unreadable:,.0f} of {unreadable + rows:,.0f} cannot be read; the reasons are in {run.storage.uri(store.path)}/failures"
        )


INGEST_IMAGES = Stage(
    name="images",
    revision=INGEST_REVISION,
    settings=lambda config: config.encoder.ingest,
    is_needed=lambda config: not config.encoder.path,
    check=check_contempt,
    work=ItemWork(
        items=shards,
        operators=(
            ItemOperator(
                build=lambda run: partial(ImageWork, run.config.encoder.ingest, run.config.storage), resources=lambda compute: compute.decode
            ),
        ),
        unit="shards",
        verify=check_failures,
    ),
    job="abaw-ray train",
)
