"""Stages ``baseline_vectors`` and ``baselines``: logistic regression on raw pixels and on mean pitch and energy, trained on Train_Set, scored on
validation.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import Stage
from abaw_ray.cluster.engine.stage_work import ItemOperator, ItemWork, RunWork
from abaw_ray.cluster.engine.user_errors import fetch
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.stages.annotations import AnnotationSet, annotated
from abaw_ray.cluster.stages.chips import CHIPS, open_with_chips
from abaw_ray.cluster.stages.faces import PREPARE_FACES
from abaw_ray.cluster.stages.sources import video_missing, videos
from abaw_ray.cluster.stages.workloads.scores import baseline_vectors_workload, baselines_workload
from abaw_ray.core.errors import ItemError, MissingError
from abaw_ray.core.expressions import UNLABELLED
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.settings import digest
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.storage import Storage
from abaw_ray.core.tables import rows_of_track
from abaw_ray.data.subjects import recording_of
from abaw_ray.features.config import BaselineConfig
from abaw_ray.media.audio import Audio
from abaw_ray.media.isolated_audio import IsolatedAudioDecoder
from abaw_ray.scoring.baselines import logistic_predictions
from abaw_ray.scoring.evaluation import Evaluation
from abaw_ray.scoring.metrics import confusion_matrix

_REGRESSION = Resources(workers=1, memory_gb=2.0)
"""The regressions: two frames of each labelled second of Aff-Wild2 are 59,000 vectors of 576 values, 0.14 GB; scikit-learn's float64 copies are a
few times as large. Ours."""


class BaselineWork:
    """Computes the baselines' vectors of one video: pixels, pitch and energy of a few frames per second."""

    def __init__(self, config: BaselineConfig, limits: ChildLimits) -> None:
        self.config, self.decode_audio = config, IsolatedAudioDecoder(limits)

    def __call__(self, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        """Process one item; its payload names the FACE output and the video's address. Audio that cannot be decoded is treated as missing;
        the features stage reports it.

        Raises:
            ItemError: there are no chips, or the video was deleted after its faces were prepared.
        """
        from abaw_ray.features.baselines import first_of_interval, gray_pixels, pitch_and_energy  # only here: with torch

        with store.storage.local_copy(payload["faces"]) as local, open_with_chips(local) as file:
            faces = file.read(columns=["track", "frame", "time", "chip"])
        audio, tables = self._audio(payload["uri"]), list[pa.Table]()
        for track in faces["track"].unique().to_pylist():
            rows = rows_of_track(faces, track)
            rows = rows.filter(pa.array(first_of_interval(rows["time"].to_numpy(), self.config.interval_s)))
            vectors, heard = pitch_and_energy(audio, rows["time"].to_numpy(), self.config.window_s)
            pixels = [chip.as_py() and gray_pixels(chip.as_py(), self.config.img_size) for chip in rows["chip"]]
            pitch_energy = [vector if valid else None for vector, valid in zip(vectors, heard, strict=True)]
            columns = {name: pa.array(values, pa.list_(pa.float32())) for name, values in (("pixels", pixels), ("pitch_energy", pitch_energy))}
            tables.append(pa.table({"track": rows["track"], "frame": rows["frame"], **columns}))
        table = pa.concat_tables(tables)
        store.storage.write_table(store.output(item), table)
        return {"rows": len(table)}

    def _audio(self, uri: str) -> Audio | None:
        try:
            return self.decode_audio(uri)
        except MissingError as error:
            raise video_missing(uri, error) from error
        except ItemError:
            return None


def annotated_items(run: Run[Any]) -> dict[Item, dict]:
    """One item for each video with faces and annotations: its FACE output and the video's address."""
    faces, annotations = PREPARE_FACES.require(run), annotated(run)
    rows = {item.name: row for item, row in videos(run).items()}
    return {
        Item(name=name, identity=digest([output])): {"faces": output, "uri": rows[name]["uri"]}
        for name, output in faces.outputs.items()
        if any(subject["track"] in annotations.labels for subject in rows[name]["subjects"])
    }


def score(run: Run[Any], store: StageStore, item: Item) -> dict[str, Any]:
    """Scores of the two baselines on the official validation set, computed in one Ray task: the driver's machine may be small."""
    import ray

    vectors = BASELINE_VECTORS.require(run)
    task = ray.remote(**_REGRESSION.task_options, max_retries=3)(score_vectors)
    scores = task.remote(run.storage, sorted(vectors.outputs.values()), annotated(run))
    figures = fetch(scores, "baselines") | {"rows": vectors.figures["rows"]}
    store.complete_folder(item, figures)
    return figures


BASELINE_VECTORS = Stage(
    name="baseline_vectors",
    revision=2,
    settings=lambda config: config.baselines,
    inputs=(PREPARE_FACES,),
    workloads=lambda run, todo: (baseline_vectors_workload(run, todo),),
    work=ItemWork(
        items=annotated_items,
        operators=(
            ItemOperator(build=lambda run: partial(BaselineWork, run.config.baselines, run.compute.limits), resources=lambda compute: compute.decode),
        ),
        unit="videos",
        column=CHIPS,
    ),
    job="abaw-ray pipeline",
)
SCORE_BASELINES = Stage(
    name="baselines",
    revision=4,
    settings=lambda config: {},
    inputs=(BASELINE_VECTORS,),
    workloads=lambda run, todo: (baselines_workload(run),),
    work=RunWork(
        run=score,
        resources=lambda compute: _REGRESSION,
        identity=lambda run: annotated(run).identity,
        describe=lambda run: "two logistic regressions",
    ),
    job="abaw-ray pipeline",
)


def score_vectors(storage: Storage, outputs: list[str], annotations: AnnotationSet) -> dict[str, dict[str, Any]]:
    """Scores of both baselines; the outputs are read one by one, and only vectors of labelled frames are kept, as float32."""
    parts: dict[str, list[_Labelled]] = {name: [] for name in ("pixels", "pitch_energy")}
    for path in outputs:
        table = storage.read_table(path)
        labels = _labels_of(table, annotations)
        for name, of_name in parts.items():
            usable = table[name].is_valid().to_numpy() & (labels >= 0)
            if usable.any():
                rows = table.filter(pa.array(usable))
                vectors = rows[name].combine_chunks().flatten().to_numpy().reshape(len(rows), -1)
                of_name.append(_Labelled(vectors, labels[usable], rows["track"].to_numpy()))
    return {name: _score(_concatenated(of_name), annotations) for name, of_name in parts.items()}


class _Labelled(NamedTuple):
    """Vectors of labelled frames."""

    vectors: np.ndarray
    """rows x width, float32."""
    labels: np.ndarray
    """Class of each row, 0..7."""
    track: np.ndarray
    """Track of each row."""


def _concatenated(parts: list[_Labelled]) -> _Labelled:
    return _Labelled(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _labels_of(table: pa.Table, annotations: AnnotationSet) -> np.ndarray:
    """The label of each row; -1 where it has none."""
    tracks, frames = table["track"].to_numpy(), table["frame"].to_numpy()
    labels = np.full(len(table), UNLABELLED)
    for track in set(tracks) & annotations.labels.keys():
        of_track = annotations.labels[track]
        rows = np.flatnonzero((tracks == track) & (frames <= len(of_track)))
        labels[rows] = of_track[frames[rows] - 1]
    return labels


def _score(rows: _Labelled, annotations: AnnotationSet) -> dict[str, Any]:
    split = np.array([annotations.splits.get(track, "") for track in rows.track])
    train, val = split == "train", split == "val"
    predicted = logistic_predictions(rows.vectors[train], rows.labels[train], rows.vectors[val], 0)
    labels, subject = rows.labels[val], rows.track[val]
    names = sorted(set(subject))
    counts = np.array([confusion_matrix(labels[subject == one], predicted[subject == one]) for one in names])
    return Evaluation.of_subjects(counts, [recording_of(one) for one in names]).score()
