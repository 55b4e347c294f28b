"""Writes the model of a finished pipeline as a bundle to ``model/`` beside its results."""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any

from abaw_ray.cluster.engine.run import Run
from abaw_ray.core.licenses import RESEARCH_LICENSE, SYNTHETIC_LICENSE
from abaw_ray.core.settings import digest, from_plain
from abaw_ray.core.stage_store.provenance import versions
from abaw_ray.core.stage_store.record import Record
from abaw_ray.core.storage.folders import download_folder
from abaw_ray.core.storage.local_disk import disk_full_to_storage_error
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.still_images.image_folders import name_folders
from abaw_ray.encoder.folds.plan import OFFICIAL
from abaw_ray.predict.bundle.metadata import BundleMetadata
from abaw_ray.predict.bundle.store import has_bundle, upload_bundle
from abaw_ray.predict.config import Protocol
from abaw_ray.scoring.postprocessing import Postprocessing

MODEL_FOLDER = "model"
"""Path of the bundle below the storage root."""


def write_model(run: Run[Any], records: dict[str, Record], summary: dict[str, Any]) -> str:
    """Write the bundle unless it is there already; returns its address.

    Raises:
        StorageError: the results cannot be read, or the bundle cannot be written.
    """
    bundle, storage = run.config.bundle, run.storage
    encoder, fusion = (records[name] for name in ("encoder", "fusion"))
    name = bundle.name or PurePosixPath(storage.uri()).name
    identity = digest([encoder.identity, fusion.identity, run.config.faces, run.config.features, bundle.protocol, name])
    if not has_bundle(storage, MODEL_FOLDER, identity):
        metadata = BundleMetadata(
            kind="audio-visual",
            name=name,
            license=SYNTHETIC_LICENSE if run.config.data.use_synthetic else RESEARCH_LICENSE,
            training_data=_training_data(run),
            is_synthetic=run.config.data.use_synthetic,
            protocol=bundle.protocol,
            faces=run.config.faces,
            features=run.config.features,
            postprocessing=from_plain(Postprocessing, fusion.figures[bundle.protocol]["postprocessing"], "postprocessing"),
            scores=_scores(summary, bundle.protocol),
            versions=versions(),
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            identity=identity,
        )
        _write(storage, metadata, _encoder_folder(records), fusion.run_output, _fusion_folders(fusion, bundle.protocol))
    return storage.uri(MODEL_FOLDER)


def _write(storage: Storage, metadata: BundleMetadata, encoder: str, fusion: str, folders: dict[str, str]) -> None:
    from abaw_ray.predict.bundle.audio_visual import write_audio_visual  # only here: a command that finds everything done loads no model library

    with disk_full_to_storage_error(), ExitStack() as stack:
        inputs, output = (Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="abaw-model-"))) for _ in range(2))
        download_folder(storage, encoder, inputs / "encoder")
        for name, folder in folders.items():
            download_folder(storage, f"{fusion}/{folder}", inputs / name)
        local = {name: inputs / name for name in folders}
        write_audio_visual(output, metadata, encoder=inputs / "encoder", fusion=local, storage=storage.config)
        upload_bundle(output, storage, MODEL_FOLDER)


def _encoder_folder(records: dict[str, Record]) -> str:
    """Folder of the encoder that the models of the bundle were trained with."""
    if "fold_encoders" in records:  # the settings allow only the official model then
        return records["fold_encoders"].figures["encoders"][OFFICIAL]["folder"]
    return f"{records['encoder'].run_output}/encoder"


def _fusion_folders(fusion: Record, protocol: Protocol) -> dict[str, str]:
    """Folders of the fusion models in the sweep's output, by their name in the bundle."""
    if protocol == "official":
        return {"official": "official/model"}
    return {f"fold-{number}": f"cv/fold-{number}" for number in range(len(fusion.figures["cv"]["in_sample"]["folds"]))}


def _training_data(run: Run[Any]) -> tuple[str, ...]:
    data, encoder = run.config.data, run.config.encoder.path
    foreign = (f"those of the encoder {encoder}",) if encoder else ()
    if data.use_synthetic:
        return ("generated talking faces (abaw_ray.data.synthetic)", *foreign)
    stills = {"AffectNet": data.affectnet, "RAF-DB": data.rafdb, "FER+": data.ferplus, "ExpW": data.expw}
    folders = () if encoder else tuple(f"images of the folder {name}" for name in name_folders(data.image_folders, ()))
    names = {"Aff-Wild2": data.affwild2} | ({} if encoder else stills)
    return (*(name for name, path in names.items() if path), *folders, *foreign)


def _scores(summary: dict[str, Any], protocol: Protocol) -> dict[str, float]:
    """The score of the models in the bundle."""
    if protocol == "official":
        return {"official validation": summary["official_val"]["macro_f1"]}
    return {"five folds over train and validation": summary["cv"]["macro_f1_mean"]}
