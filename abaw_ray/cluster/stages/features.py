"""Stage ``features``: FACE outputs and audio to FEATURE outputs, one per video. ``features.extract`` defines the vectors."""

import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import Stage
from abaw_ray.cluster.engine.stage_work import ItemOperator, ItemWork
from abaw_ray.cluster.engine.workload import Workload
from abaw_ray.cluster.stages.chips import CHIPS, open_with_chips
from abaw_ray.cluster.stages.faces import PREPARE_FACES
from abaw_ray.cluster.stages.sources import video_missing, videos
from abaw_ray.cluster.stages.stage_one.encoder import TRAIN_ENCODER, check_input_size
from abaw_ray.cluster.stages.stage_one.scales import check_scales, scale_warnings
from abaw_ray.cluster.stages.workloads.encoder import features_workload
from abaw_ray.cluster.stages.workloads.videos import face_rows, totals_of_part
from abaw_ray.core.errors import ConfigError, ItemError, MissingError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.settings import digest
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.folders import download_folder
from abaw_ray.core.storage.storage import Storage
from abaw_ray.faces.config import ChipConfig
from abaw_ray.features.config import REVISION, DeviceConfig, FeaturesConfig
from abaw_ray.features.speech_weights import check_weights, weights_identity, weights_source
from abaw_ray.media.audio import Audio
from abaw_ray.media.isolated_audio import IsolatedAudioDecoder

_ROWS = 1024
"""Number of rows whose chips are in memory at the same time."""


@dataclass(frozen=True, eq=False)
class _Inputs:
    """What the features of one video are extracted from."""

    faces: pq.ParquetFile
    """The FACE output, open; a temporary copy has no name any more, so a worker that is killed leaves none behind."""
    rows: pa.Table
    """Its columns ``frame`` and ``time``, whole."""
    audio: Audio | None
    failure: ItemError | None
    """Why there is no audio."""


class FeatureWork:
    """Extracts the features of one video: its chips through the encoder, its audio through the speech model.

    May be called from two threads: while one video passes through the models, the inputs of the other one are read. Batches are never mixed, so the
    features are the same.
    """

    def __init__(self, config: FeaturesConfig, chips: ChipConfig, storage: Storage, encoder: str, device: DeviceConfig, limits: ChildLimits) -> None:
        """Download the encoder (a folder of that stage's output) and build both models; ``limits`` apply to the decoding of audio."""
        from abaw_ray.features.extract import ExtractFeatures  # only here: the driver and other workers start in a third of the time without it

        self.decode_audio = IsolatedAudioDecoder(limits)
        self.device_lock = threading.Lock()
        with tempfile.TemporaryDirectory(prefix="abaw-encoder-") as folder:
            download_folder(storage, encoder, Path(folder))
            self.extract = ExtractFeatures(config, chips, Path(folder), device, storage.config)

    def __call__(self, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        """Process one item; its payload names the FACE output and the video's address.

        Raises:
            ItemError: there are no chips, a chip or the audio cannot be decoded (in the latter case the output is written without audio features), or
                the video was deleted after its faces were prepared.
            StorageError: the item cannot be read, or its output cannot be written.
        """
        try:
            inputs = self._read(store.storage, payload)
        except MissingError as error:
            raise video_missing(payload["uri"], error) from error
        with ExitStack() as stack:
            with self.device_lock, inputs.faces:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="abaw-features-")))
                figures = self._extract(inputs, folder / "output.parquet")
            if inputs.failure:
                store.write_failure(item, inputs.failure)  # before the output: a run that is killed in between would otherwise lose the failure
            store.storage.put_file(folder / "output.parquet", store.output(item))
        if inputs.failure:
            raise inputs.failure
        return figures

    def _read(self, storage: Storage, payload: dict) -> _Inputs:
        """Read what needs no device."""
        rows = storage.read_table(payload["faces"], columns=["frame", "time"])
        audio, failure = self._audio(payload["uri"], last_frame=int(rows["frame"].to_numpy().max()))
        with storage.local_copy(payload["faces"]) as faces:
            return _Inputs(open_with_chips(faces), rows, audio, failure)

    def _extract(self, inputs: _Inputs, output: Path) -> Mapping[str, float]:
        """Write the features to a local file."""
        figures = {"rows": 0, "seen": 0, "heard": 0}
        with pq.ParquetWriter(output, self.extract.schema, compression="zstd") as writer:
            chunks = (pa.Table.from_batches([batch]) for batch in inputs.faces.iter_batches(_ROWS))
            for table in self.extract.stream(chunks, inputs.rows["time"].to_numpy(), inputs.audio):
                writer.write_table(table)
                figures["rows"] += len(table)
                figures |= {name: figures[name] + int(table[name].to_numpy().sum()) for name in ("seen", "heard")}
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
    config, encoder = run.config, f"{TRAIN_ENCODER.require(run).run_output}/encoder"
    return partial(FeatureWork, config.features, config.faces.chips, run.storage, encoder, device_of_worker(run), run.compute.limits)


def device_of_worker(run: Run[Any]) -> DeviceConfig:
    """Device settings of a worker that extracts features: all of its CPUs but one decode chips."""
    return DeviceConfig(decode_workers=max(int(run.compute.features.cpus) - 1, 0), compile=run.compute.compile)


def workload(run: Run[Any], todo: Mapping[Item, dict] | None) -> Workload:
    """Vectors of the unfinished videos; of all videos where the faces or the encoder do not exist yet."""
    names = None if todo is None else {item.name for item in todo}
    rows = [row for row in videos(run).values() if names is None or row["video"] in names]
    return features_workload(run, face_rows(run, rows, PREPARE_FACES.record(run)), totals_of_part(run, rows).audio_s)


EXTRACT_FEATURES = Stage(
    name="features",
    revision=REVISION,
    settings=lambda config: config.features,
    inputs=(PREPARE_FACES, TRAIN_ENCODER),
    sources=lambda run: (weights_identity(weights_source(run.config.features.speech, run.config.storage)),),
    check=check,
    workloads=lambda run, todo: (workload(run, todo),),
    warnings=scale_warnings,
    work=ItemWork(
        items=feature_items,
        operators=(
            ItemOperator(
                build=build_work, resources=lambda compute: compute.features, items_per_worker=lambda compute: compute.videos_per_features_worker
            ),
        ),
        unit="videos",
        column=CHIPS,
    ),
    job="abaw-ray features",
)
