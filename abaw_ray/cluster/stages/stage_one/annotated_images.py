"""Stage ``annotated_images``: chips of annotated videos to ANNOTATED_IMAGE shards, one per subject, for the encoders per fold.

One shard holds one subject, because the official split has videos with a subject of Train_Set and one of Validation_Set: which encoder sees whom is
decided by the choice of shards.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import Stage
from abaw_ray.cluster.engine.stage_work import ItemOperator, ItemWork
from abaw_ray.cluster.stages.annotations import annotated
from abaw_ray.cluster.stages.chips import CHIPS, open_with_chips
from abaw_ray.cluster.stages.faces import PREPARE_FACES
from abaw_ray.cluster.stages.sources import videos
from abaw_ray.cluster.stages.workloads.scores import annotated_images_workload
from abaw_ray.core import schema
from abaw_ray.core.errors import ConfigError, DataError, ItemError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.progress import echo
from abaw_ray.core.settings import digest
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.folds.chips import AnnotatedChips
from abaw_ray.encoder.folds.sampling import image_quotas

_ROWS = 256
"""Number of FACE rows whose chips are in memory at the same time."""


class AnnotatedImageWork:
    """Makes the images of one subject."""

    def __init__(self, chips: AnnotatedChips, labels: Mapping[str, np.ndarray]) -> None:
        """``labels``: annotations of all subjects by name."""
        self.chips, self.labels = chips, labels

    def __call__(self, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        """Process one item, a subject; its payload names the FACE output of the video and the number of images by expression.

        Raises:
            ItemError: the annotation does not belong to the video, or there are no chips.
            StorageError: the faces cannot be read, or the output cannot be written.
        """
        labels = self.labels[item.name]
        rows = store.storage.read_table(payload["faces"], columns=["frame", "time", "chip_scale"], filters=[("track", "==", item.name)])
        try:
            selected = self.chips.select(rows.sort_by("frame"), labels, payload["quotas"])
        except DataError as error:
            raise ItemError(str(error)) from error
        tables = [self.chips.images(faces, labels) for faces in selected_faces(store.storage, payload["faces"], item.name, selected)]
        table = pa.concat_tables([schema.ANNOTATED_IMAGE.empty_table(), *tables])
        store.storage.write_table(store.output(item), schema.conform(table, schema.ANNOTATED_IMAGE, stage="annotated_images"))
        return {"rows": len(table)}


def selected_faces(storage: Storage, path: str, track: str, selected: np.ndarray) -> Iterator[pa.Table]:
    """The selected rows of a track (``selected``: a boolean per frame), a few at a time: the chips of a long video do not fit into memory."""
    with storage.local_copy(path) as local, open_with_chips(local) as file:
        for batch in file.iter_batches(_ROWS):
            frames = batch.column("frame").to_numpy()
            tracks = np.array(batch.column("track").to_pylist(), dtype=object)
            chosen = (tracks == track) & selected[np.minimum(frames, len(selected)) - 1]
            if chosen.any():
                yield pa.Table.from_batches([batch.filter(pa.array(chosen))])


def subject_items(run: Run[Any]) -> dict[Item, dict]:
    """One item for each annotated subject whose video has faces: the FACE output, and its number of images by expression."""
    faces, annotations, config = PREPARE_FACES.require(run), annotated(run), run.config
    quotas = image_quotas(annotations.labels, config.encoder.classes, config.fold_encoders.images)
    video_of = {subject["track"]: row["video"] for row in videos(run).values() for subject in row["subjects"]}
    payloads = {
        name: {"faces": faces.outputs[video_of[name]], "quotas": quotas[name]} for name in annotations.labels if video_of.get(name) in faces.outputs
    }
    return {Item(name=name, identity=digest([payload, annotations.labels[name].tolist()])): payload for name, payload in payloads.items()}


def check(run: Run[Any]) -> None:
    """Check that there are annotations, and that chips are stored.

    Raises:
        ConfigError: there are none.
    """
    annotated(run)
    if run.config.faces.chips.keep == "none":
        raise ConfigError("faces.chips.keep=none: encoders per fold are trained on chips; set it to jpeg, or fold_encoders.epochs to 0")


def build_work(run: Run[Any]) -> partial[AnnotatedImageWork]:
    """The builder of the work, with all annotations."""
    config = run.config
    missing = [name for name in EXPRESSIONS if name not in config.encoder.classes]
    if missing:
        classes = " ".join((*config.encoder.classes, *missing))
        echo(f"annotated_images: frames of {', '.join(missing)} are left out; --encoder.ingest.classes {classes} would include them")
    chips = AnnotatedChips(config.fold_encoders, config.faces.chips, config.encoder.classes)
    return partial(AnnotatedImageWork, chips, annotated(run).labels)


PREPARE_ANNOTATED_IMAGES = Stage(
    name="annotated_images",
    revision=1,
    settings=lambda config: {
        "images": config.fold_encoders.images,
        "interval_s": config.fold_encoders.interval_s,
        "classes": config.encoder.classes,
    },
    inputs=(PREPARE_FACES,),
    is_needed=lambda config: config.fold_encoders.are_trained,
    check=check,
    workloads=lambda run, todo: (annotated_images_workload(run, todo),),
    work=ItemWork(
        items=subject_items,
        operators=(ItemOperator(build=build_work, resources=lambda compute: compute.decode),),
        unit="subjects",
        column=CHIPS,
        describe=lambda items: f"at most {sum(sum(payload['quotas'].values()) for payload in items.values()):,} images",
    ),
    job="abaw-ray sweep",
)
