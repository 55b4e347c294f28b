"""Stage ``features``: FACE outputs and audio to FEATURE outputs, one per video. ``features.extract`` defines the vectors."""

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import ItemOperator, ItemWork, Stage
from abaw_ray.cluster.stages.faces import PREPARE_FACES
from abaw_ray.cluster.stages.sources import video_missing, videos
from abaw_ray.cluster.stages.stage_one.encoder import TRAIN_ENCODER, check_input_size
from abaw_ray.cluster.stages.stage_one.scales import check_scales, scale_warnings
from abaw_ray.core.errors import ConfigError, ItemError, MissingError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.core.storage.storage import Storage
from abaw_ray.faces.config import ChipConfig
from abaw_ray.features.config import REVISION, DeviceConfig, FeaturesConfig
from abaw_ray.features.extract import ExtractFeatures
from abaw_ray.features.wav2vec import check_weights, weights_identity, weights_source
from abaw_ray.media.audio import Audio
from abaw_ray.media.isolated_audio import IsolatedAudioDecoder

_ROWS = 1024
"""Number of rows whose chips are in memory at the same time."""


class FeatureWork:
    """Extracts the features of one video: its chips through the encoder, its audio through the speech model."""

    def __init__(self, config: FeaturesConfig, chips: ChipConfig, storage: Storage, encoder: str, device: DeviceConfig, limits: ChildLimits) -> None:
        """Download the encoder (a folder of that stage's output) and build both models; ``limits`` apply to the decoding of audio."""
        self.decode_audio = IsolatedAudioDecoder(limits)
        with tempfile.TemporaryDirectory(prefix="abaw-encoder-") as folder:
            storage.download_folder(encoder, Path(folder))
            self.extract = ExtractFeatures(config, chips, Path(folder), device, storage.config)

    def __call__(self, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        """Process one item; its payload names the FACE output and the video's address.

        Raises:
            ItemError: a chip or the audio cannot be decoded (then the output is written without audio features), or the video was deleted after
                its faces were prepared.
            StorageError: the item cannot be read, or its output cannot be written.
        """
        try:
            return self._extract(store, item, payload)
        except MissingError as error:
            raise video_missing(payload["uri"], error) from error

    def _extract(self, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        rows = store.storage.read_table(payload["faces"], columns=["frame", "time"])
        times = rows["time"].to_numpy()
        audio, failure = self._audio(payload["uri"], last_frame=int(rows["frame"].to_numpy().max()))
        figures = {"rows": 0, "seen": 0, "heard": 0}
        with tempfile.TemporaryDirectory(prefix="abaw-features-") as folder, store.storage.local_copy(payload["faces"]) as faces:
            local = Path(folder) / "output.parquet"
            with pq.ParquetWriter(local, self.extract.schema, compression="zstd") as writer:
                chunks = (pa.Table.from_batches([batch]) for batch in pq.ParquetFile(faces).iter_batches(_ROWS))
                for table in self.extract.stream(chunks, times, audio):
                    writer.write_table(table)
                    figures["rows"] += len(table)
                    figures |= {name: figures[name] + int(table[name].to_numpy().sum()) for name in ("seen", "heard")}
            if failure:
                store.write_failure(item, failure)  # before the output: a run that is killed in between would otherwise lose the failure
            store.storage.put_file(local, store.output(item))
        if failure:
            raise failure
        return figures

    def _audio(self, uri: str, *, last_frame: int) -> tuple[Audio | None, ItemError | None]:
        """The video's audio, or the error if it cannot be decoded; the features of its faces are extracted in both cases."""
        try:
            return self.decode_audio(uri), None
        except ItemError as error:
            return None, ItemError(f"its frames have no audio features: {error}", last_frame=last_frame)


def check(run: Run[Any]) -> None:
    """Check that the chips have the encoder's input size and trained scales, that the speech model exists, and that there are logits to keep.

    Raises:
        ConfigError: one of them is not so.
    """
    if run.config.features.visual.logits and run.config.encoder.path:
        raise ConfigError("features.visual.logits: the encoder at encoder.path has no head of Stage I; leave out one of the two")
    check_input_size(run)
    check_weights(run.config.features.speech, run.config.storage)
    check_scales(run)


def feature_items(run: Run[Any]) -> dict[Item, dict]:
    """One item for each video with faces: its FACE output and the video's address. Its identity includes the encoder."""
    faces, encoder = PREPARE_FACES.require(run), TRAIN_ENCODER.require(run)
    uris = {item.name: row["uri"] for item, row in videos(run).items()}
    return {
        Item(name=name, identity=digest([output, encoder.identity])): {"faces": output, "uri": uris[name]} for name, output in faces.outputs.items()
    }


def build_work(run: Run[Any]) -> partial[FeatureWork]:
    """The builder of the work, with the address of the trained encoder."""
    config, encoder = run.config, f"{TRAIN_ENCODER.require(run).outputs['run']}/encoder"
    device = DeviceConfig(decode_workers=max(int(run.compute.features.cpus) - 1, 0), compile=run.compute.compile)
    return partial(FeatureWork, config.features, config.faces.chips, run.storage, encoder, device, run.compute.limits)


EXTRACT_FEATURES = Stage(
    name="features",
    revision=REVISION,
    settings=lambda config: config.features,
    inputs=(PREPARE_FACES, TRAIN_ENCODER),
    sources=lambda run: (weights_identity(weights_source(run.config.features.speech, run.config.storage)),),
    check=check,
    warnings=scale_warnings,
    work=ItemWork(
        items=feature_items,
        operators=(ItemOperator(build=build_work, resources=lambda compute: compute.features),),
        unit="videos",
    ),
    job="abaw-ray features",
)
