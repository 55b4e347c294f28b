"""How far one gets without a model: logistic regression on raw pixels and on mean pitch and energy, trained on Train_Set, scored on validation."""

import json
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from abaw_ray.cluster.engine.items import Pool
from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import run_items
from abaw_ray.cluster.stages.annotations import AnnotationSet, annotated
from abaw_ray.cluster.stages.faces import faces_record, faces_store, gone, videos
from abaw_ray.core.errors import ConfigError, ItemError, MissingError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.core.storage.storage import Storage
from abaw_ray.features.baselines import first_of_interval, grey_pixels, pitch_and_energy
from abaw_ray.features.config import BaselineConfig
from abaw_ray.media.audio import Audio
from abaw_ray.media.isolated_audio import GuardedSound
from abaw_ray.scoring.baselines import logistic_macro_f1

if TYPE_CHECKING:
    from abaw_ray.cluster.launch.config import PipelineConfig

STAGE = "baselines"
REVISION = 1
"""Raised when the same faces give other numbers."""


class BaselineWork:
    """One video: pixels and voice of a few frames a second."""

    def __init__(self, config: BaselineConfig, limits: ChildLimits) -> None:
        self.config, self.sound = config, GuardedSound(limits)

    def __call__(self, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        """Do one item; its payload names the FACE part and the video's address. Sound that cannot be decoded is none, as features say.

        Raises:
            ItemError: the video is gone since its faces were cut.
        """
        faces, pieces = store.storage.read_table(payload["faces"], columns=["track", "frame", "time", "chip"]), []
        audio = self._sound(payload["uri"])
        for track in pc.unique(faces["track"]).to_pylist():
            mine = faces.filter(pc.equal(faces["track"], track)).sort_by("frame")
            mine = mine.filter(pa.array(first_of_interval(mine["time"].to_numpy(), self.config.interval_s)))
            sound, heard = pitch_and_energy(audio, mine["time"].to_numpy(), self.config.window_s)
            chips = [chip.as_py() for chip in mine["chip"]]
            pieces.append(
                pa.table(
                    {
                        "track": mine["track"],
                        "frame": mine["frame"],
                        "pixels": pa.array([chip and grey_pixels(chip, self.config.img_size) for chip in chips], pa.list_(pa.float32())),
                        "voice": pa.array([row if there else None for row, there in zip(sound, heard, strict=True)], pa.list_(pa.float32())),
                    }
                )
            )
        table = pa.concat_tables(pieces)
        store.storage.write_table(store.part(item), table)
        return {"rows": len(table)}

    def _sound(self, uri: str) -> Audio | None:
        try:
            return self.sound(uri)
        except MissingError as error:
            raise gone(uri, error) from error
        except ItemError:
            return None


def baselines(run: Run, line: "PipelineConfig") -> dict[str, Any]:
    """Macro-F1 of the two baselines on the official validation set, with the stage's seconds and rows.

    Raises:
        ConfigError: there is no annotated data set.
    """
    started, config = time.monotonic(), line.baselines
    if not run.data.affwild2:
        raise ConfigError("data.affwild2 is empty; baselines need the annotations of an Aff-Wild2 tree")
    faces, who = faces_record(run, line.faces), annotated(run)
    named = {item.name: row for item, row in videos(run).items()}
    payloads = {
        Item(name=name, identity=digest([part])): {"faces": part, "uri": named[name]["uri"]}
        for name, part in faces.parts.items()
        if any(subject["track"] in who.labels for subject in named[name]["subjects"])
    }
    store = StageStore(run.storage, STAGE, config, REVISION, (faces_store(run, line.faces).path,))
    pool = Pool(workers=run.compute.item_workers, memory_gb=run.compute.item_memory_gb)
    record = run_items(run, store, payloads, partial(BaselineWork, config, run.compute.limits), pool=pool, unit="videos")
    path = f"{store.path}/scores/{digest([record.identity, who.identity])}.json"
    if not run.storage.exists(path):
        scores = _scores(run.storage, sorted(record.parts.values()), who)
        body = {**scores, "seconds": round(time.monotonic() - started, 2), "rows": record.figures["rows"]}
        run.storage.write_bytes(path, json.dumps(body).encode())
    return json.loads(run.storage.read_bytes(path))


def _scores(storage: Storage, parts: list[str], who: AnnotationSet) -> dict[str, float]:
    table = pa.concat_tables([storage.read_table(path) for path in parts])
    tracks, frames = table["track"].to_pylist(), table["frame"].to_numpy()
    known = np.array([track in who.labels and frame <= len(who.labels[track]) for track, frame in zip(tracks, frames, strict=True)])
    labels = np.full(len(table), -1)
    labels[known] = [who.labels[tracks[row]][frames[row] - 1] for row in np.flatnonzero(known)]
    split = np.array([who.splits.get(track, "") for track in tracks])
    found = {}
    for name in ("pixels", "voice"):
        there = table[name].is_valid().to_numpy() & (labels >= 0)
        vectors = np.array(table[name].filter(pa.array(there)).to_pylist(), np.float32)
        train, val = split[there] == "train", split[there] == "val"
        found[name] = logistic_macro_f1(vectors[train], labels[there][train], vectors[val], labels[there][val], 0)
    return found
