"""Still images of the user's data sets to IMAGE parts: shards of many images each, written once and read by every training node."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial

from abaw_ray.cluster.engine.items import Pool
from abaw_ray.cluster.engine.run import Run, once_a_run
from abaw_ray.cluster.engine.stage import run_items
from abaw_ray.core import schema
from abaw_ray.core.errors import ConfigError, ItemError, StageError
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.records import Item, Record, StageStore
from abaw_ray.data.stills import StillImage
from abaw_ray.encoder.config import INGEST_REVISION, IngestConfig
from abaw_ray.encoder.ingest import IngestImages

STAGE = "images"
_SHARD = 1000
"""Images of a part; about 20 MB, so that a part is one quick read."""


class ImageWork:
    """One shard: its images cut and encoded, its part written; an unreadable image is a failure of its own."""

    def __init__(self, config: IngestConfig, access: StorageConfig) -> None:
        self.ingest = IngestImages(config, access)

    def __call__(self, store: StageStore, item: Item, shard: dict) -> Mapping[str, float]:
        """Do one item; its payload lists the images."""
        done = self.ingest([StillImage(**{**still, "box": still["box"] and tuple(still["box"])}) for still in shard["stills"]])
        for row in done.failures:
            store.write_failure(Item(name=row["item"], identity=item.identity), ItemError(row["reason"]))
        store.storage.write_table(store.part(item), schema.conform(done.table, schema.IMAGE, stage=STAGE))
        return {"rows": len(done.table), "unreadable": len(done.failures), "left out": done.skipped}


def stills(run: Run) -> list[StillImage]:
    """All still images that the user gave, sorted by name.

    Raises:
        ConfigError: none were given.
    """
    from abaw_ray.data.affectnet import read_affectnet
    from abaw_ray.data.rafdb import read_rafdb

    found: list[StillImage] = []
    if run.data.affectnet:
        found += read_affectnet(run.data.affectnet, contempt=run.data.contempt, storage=run.where.storage)
    if run.data.rafdb:
        found += read_rafdb(run.data.rafdb, storage=run.where.storage)
    if not found:
        raise ConfigError("no still images: give data.affectnet, data.rafdb or both")
    return sorted(found, key=lambda still: (still.source, still.split, still.name))


def shards_of(images: Iterable[StillImage]) -> dict[Item, dict]:
    """The images by shard: of one data set and split each, named by what they hold."""
    found = {}
    for (source, split), group in itertools.groupby(images, key=lambda still: (still.source, still.split)):
        members = list(group)
        for start in range(0, len(members), _SHARD):
            plain = [asdict(still) for still in members[start : start + _SHARD]]
            found[Item(name=f"{source}-{split}-{start // _SHARD:05d}", identity=digest(plain))] = {"stills": plain}
    return found


@once_a_run
def shards(run: Run) -> dict[Item, dict]:
    """All still images that the user gave, by shard."""
    return shards_of(stills(run))


def images_store(run: Run, config: IngestConfig) -> StageStore:
    """Where ingested images live.

    Raises:
        ConfigError: Contempt shall count as a class that the encoder does not have, so that its images would be left out unsaid.
    """
    if run.data.contempt == "other" and "Other" not in config.classes:
        raise ConfigError(f"data.contempt=other: Other is none of encoder.ingest.classes={','.join(config.classes)}; add it there, or say drop")
    return StageStore(run.storage, STAGE, config, INGEST_REVISION)


def ingest_images(run: Run, config: IngestConfig) -> Record:
    """Bring all still images into storage.

    Raises:
        StageError: more images than ``max_failures`` allows cannot be read.
    """
    pool = Pool(workers=run.compute.item_workers, memory_gb=run.compute.item_memory_gb)
    store = images_store(run, config)
    record = run_items(run, store, shards(run), partial(ImageWork, config, run.where.storage), pool=pool, unit="shards")
    bad, good = record.figures.get("unreadable", 0), record.figures["rows"]
    if not run.policy.bears(bad, bad + good):
        raise StageError(f"images: {bad:,.0f} of {bad + good:,.0f} cannot be read; their reasons are in {run.storage.uri(store.path)}/failures")
    return record
