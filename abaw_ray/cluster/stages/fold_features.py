"""Stage ``fold_features``: FACE outputs to visual vectors of the encoders per fold, one output per video and encoder.

Speech vectors do not depend on the encoder and are those of the stage ``features``. An item's identity includes the encoder.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import Stage
from abaw_ray.cluster.engine.stage_work import ItemOperator, ItemWork
from abaw_ray.cluster.engine.workload import Workload
from abaw_ray.cluster.stages.annotations import annotated
from abaw_ray.cluster.stages.chips import CHIPS, open_with_chips
from abaw_ray.cluster.stages.faces import PREPARE_FACES
from abaw_ray.cluster.stages.features import device_of_worker
from abaw_ray.cluster.stages.sources import videos
from abaw_ray.cluster.stages.stage_one.fold_encoders import TRAIN_FOLD_ENCODERS
from abaw_ray.cluster.stages.workloads.encoder import features_workload
from abaw_ray.cluster.stages.workloads.videos import face_rows
from abaw_ray.core import schema
from abaw_ray.core.settings import digest
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.folders import download_folder
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.folds.plan import OFFICIAL
from abaw_ray.faces.config import ChipConfig
from abaw_ray.features.config import REVISION, DeviceConfig, VisualConfig

if TYPE_CHECKING:
    from abaw_ray.features.visual import VisualFeatures

_ROWS = 1024
"""Number of rows whose chips are in memory at the same time."""


class FoldFeatureWork:
    """Extracts the visual vectors of one video; keeps the encoder that it used last, because items are ordered by encoder."""

    def __init__(self, config: VisualConfig, chips: ChipConfig, device: DeviceConfig) -> None:
        """Nothing is loaded before the first item."""
        self.config, self.chips, self.device = config, chips, device
        self.folder, self.visual = "", None

    def __call__(self, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        """Process one item; its payload names the FACE output and the encoder's folder.

        Raises:
            ItemError: there are no chips, or one cannot be decoded.
            StorageError: the item cannot be read, or its output cannot be written.
        """
        from abaw_ray.features.visual_rows import visual_rows

        visual, rows = self._encoder(store.storage, payload["encoder"]), 0
        with tempfile.TemporaryDirectory(prefix="abaw-features-") as folder, store.storage.local_copy(payload["faces"]) as faces:
            local = Path(folder) / "output.parquet"
            with open_with_chips(faces) as file, pq.ParquetWriter(local, schema.visual_feature(visual.dim), compression="zstd") as writer:
                for batch in file.iter_batches(_ROWS, columns=["video", "track", "frame", "seen", "chip"]):
                    writer.write_table(visual_rows(visual, pa.Table.from_batches([batch])))
                    rows += len(batch)
            store.storage.put_file(local, store.output(item))
        return {"rows": rows}

    def _encoder(self, storage: Storage, folder: str) -> "VisualFeatures":
        from abaw_ray.features.visual import VisualFeatures  # only here, as in ``FeatureWork``

        if self.visual is not None and folder == self.folder:
            return self.visual
        self.close()  # before another encoder takes its place in memory
        with tempfile.TemporaryDirectory(prefix="abaw-encoder-") as local:
            download_folder(storage, folder, Path(local))
            self.folder, self.visual = folder, VisualFeatures(Path(local), self.config, self.chips, self.device)
        return self.visual

    def close(self) -> None:
        """End the threads of the encoder."""
        if self.visual is not None:
            self.visual.readers.close()
        self.visual = None


def fold_feature_items(run: Run[Any]) -> dict[Item, dict]:
    """One item for each encoder and video with faces of its protocol, ordered by encoder: ``official`` needs no test release."""
    faces, encoders = PREPARE_FACES.require(run), TRAIN_FOLD_ENCODERS.require(run).figures["encoders"]
    splits = annotated(run).splits
    splits_of = {row["video"]: {splits[subject["track"]] for subject in row["subjects"]} for row in videos(run).values()}
    items = {}
    for name, encoder in encoders.items():
        for video, output in faces.outputs.items():
            if name != OFFICIAL or splits_of[video] - {"test"}:
                identity = digest([output, encoder["folder"]])
                items[Item(name=f"{name}/{video}", identity=identity)] = {"faces": output, "encoder": encoder["folder"]}
    return items


def build_work(run: Run[Any]) -> partial[FoldFeatureWork]:
    """The builder of the work."""
    return partial(FoldFeatureWork, _visual_config(run.config), run.config.faces.chips, device_of_worker(run))


def _visual_config(config: Any) -> VisualConfig:
    """Settings of the visual vectors; the logits of the encoders per fold are not kept."""
    return replace(config.features.visual, logits=False)


def workload(run: Run[Any], todo: Mapping[Item, dict] | None) -> Workload:
    """Visual vectors of the unfinished videos by every encoder; of all videos where the encoders do not exist yet."""
    if todo is None:
        splits = annotated(run).splits
        every = list(videos(run).values())
        scored = [row for row in every if {splits[subject["track"]] for subject in row["subjects"]} - {"test"}]
        rows = [*scored, *(row for row in every for _ in range(run.config.sweep.folds))]
    else:
        by_name = {row["video"]: row for row in videos(run).values()}
        rows = [by_name[item.name.partition("/")[2]] for item in todo]
    return features_workload(run, face_rows(run, rows, PREPARE_FACES.record(run)), 0.0)


EXTRACT_FOLD_FEATURES = Stage(
    name="fold_features",
    revision=REVISION,
    settings=lambda config: _visual_config(config),
    inputs=(PREPARE_FACES, TRAIN_FOLD_ENCODERS),
    is_needed=lambda config: config.fold_encoders.are_trained,
    check=annotated,
    workloads=lambda run, todo: (workload(run, todo),),
    work=ItemWork(
        items=fold_feature_items,
        operators=(ItemOperator(build=build_work, resources=lambda compute: compute.features),),
        unit="videos of encoders",
        column=CHIPS,
    ),
    job="abaw-ray sweep",
)
