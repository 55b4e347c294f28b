"""FACE parts and voices to FEATURE parts, one part a video, over actors that keep the models. What a vector is, is ``features.extract``."""

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from abaw_ray.cluster.engine.items import Pool
from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import needed, run_items
from abaw_ray.cluster.stages.encoder import encoder_record, encoder_store
from abaw_ray.cluster.stages.faces import faces_record, faces_store, gone, videos
from abaw_ray.core.errors import ItemError, MissingError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.records import Item, Record, StageStore
from abaw_ray.core.storage.storage import Storage
from abaw_ray.faces.chips import ChipConfig
from abaw_ray.features.config import REVISION, DeviceConfig, FeaturesConfig
from abaw_ray.features.extract import ExtractFeatures
from abaw_ray.features.wav2vec import weights_identity
from abaw_ray.media.audio import Audio
from abaw_ray.media.isolated_audio import GuardedSound

if TYPE_CHECKING:
    from abaw_ray.cluster.launch.config import FeaturesJob, PipelineConfig, SweepJob

    AnyLine = FeaturesJob | SweepJob | PipelineConfig

STAGE = "features"
_ROWS = 1024
"""Rows whose chips are in memory at a time."""


class FeatureWork:
    """One video: its chips and its voice through the two models."""

    def __init__(self, config: FeaturesConfig, chips: ChipConfig, storage: Storage, encoder: str, device: DeviceConfig, limits: ChildLimits) -> None:
        """Fetch the encoder (a folder of the encoder's part) to this node and build both models; ``limits`` are those of decoding sound."""
        self.sound = GuardedSound(limits)
        with tempfile.TemporaryDirectory(prefix="abaw-encoder-") as folder:
            for name in storage.files(encoder):
                storage.get_file(f"{encoder}/{name}", Path(folder) / name)
            self.extract = ExtractFeatures(config, chips, Path(folder), device)

    def __call__(self, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        """Do one item; its payload names the FACE part and the video's address.

        Raises:
            ItemError: a chip or the sound cannot be decoded (of the latter the part is there, without a voice), or the video is gone since its
                faces were cut.
            StorageError: it could not be read or its part not be written.
        """
        try:
            return self._extract(store, item, payload)
        except MissingError as error:
            raise gone(payload["uri"], error) from error

    def _extract(self, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        rows = store.storage.read_table(payload["faces"], columns=["frame", "time"])
        times = rows["time"].to_numpy()
        audio, deaf = self._sound(payload["uri"], last_frame=pc.max(rows["frame"]).as_py())
        figures = {"rows": 0, "seen": 0, "heard": 0}
        with tempfile.TemporaryDirectory(prefix="abaw-features-") as folder, store.storage.local_copy(payload["faces"]) as faces:
            local = Path(folder) / "part.parquet"
            with pq.ParquetWriter(local, self.extract.schema, compression="zstd") as writer:
                pieces = (pa.Table.from_batches([batch]) for batch in pq.ParquetFile(faces).iter_batches(_ROWS))
                for table in self.extract.stream(pieces, times, audio):
                    writer.write_table(table)
                    figures["rows"] += len(table)
                    figures |= {name: figures[name] + pc.sum(table[name]).as_py() for name in ("seen", "heard")}
            if deaf:
                store.write_failure(item, deaf)  # before the part, or a run that is killed in between would not say it
            store.storage.put_file(local, store.part(item))
        if deaf:
            raise deaf
        return figures

    def _sound(self, uri: str, *, last_frame: int) -> tuple[Audio | None, ItemError | None]:
        """The video's sound; or why there is none, though there should be: its faces are of use all the same."""
        try:
            return self.sound(uri), None
        except ItemError as error:
            return None, ItemError(f"its frames have no voice: {error}", last_frame=last_frame)


def features_store(run: Run, line: "AnyLine") -> StageStore:
    """Where features of these faces by this encoder live."""
    inputs = (faces_store(run, line.faces).path, encoder_store(run, line.encoder).path, weights_identity(line.features.speech.weights))
    return StageStore(run.storage, STAGE, line.features, REVISION, inputs)


def feature_items(run: Run, line: "AnyLine") -> dict[Item, dict]:
    """One item a video that has faces: its FACE part, its address; named by the encoder too, which shapes its vectors."""
    faces, encoder = faces_record(run, line.faces), encoder_record(run, line.encoder)
    uris = {item.name: row["uri"] for item, row in videos(run).items()}
    return {Item(name=name, identity=digest([part, encoder.identity])): {"faces": part, "uri": uris[name]} for name, part in faces.parts.items()}


def extract_features(run: Run, line: "AnyLine") -> Record:
    """Bring the features of all prepared faces into storage."""
    items = feature_items(run, line)
    encoder = f"{encoder_record(run, line.encoder).parts['run']}/encoder"
    on = run.compute
    device = DeviceConfig(decode_workers=max(int(on.feature_cpus) - 1, 0))
    make = partial(FeatureWork, line.features, line.faces.chips, run.storage, encoder, device, on.limits)
    pool = Pool(workers=on.feature_workers, cpus=on.feature_cpus, gpus=on.feature_gpus, memory_gb=on.feature_memory_gb)
    return run_items(run, features_store(run, line), items, make, pool=pool, unit="videos")


def features_record(run: Run, line: "AnyLine") -> Record:
    """The record of extracted features that a later stage builds on.

    Raises:
        DataError: they are not there (yet) for these faces, encoder and settings.
    """
    store = features_store(run, line)
    return needed(store, store.record(feature_items(run, line)), "jobs/extract_features.py")
