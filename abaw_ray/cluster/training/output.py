"""The output of Stage I: encoders of the selected and of the other epoch with their model cards, curve, and event files."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist
from safetensors.torch import load_file

from abaw_ray.cluster.training.job import RankJob
from abaw_ray.core.model_card import CARD_FILE
from abaw_ray.core.storage.folders import upload_folder
from abaw_ray.encoder.checkpoint import WEIGHTS_FILE, save_encoder
from abaw_ray.encoder.evaluation.probe import probe_encoder
from abaw_ray.encoder.evaluation.selection import Selection, select_epoch
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.output.best import BestEncoder
from abaw_ray.encoder.output.card import render_encoder_card, training_data
from abaw_ray.encoder.output.head import save_head
from abaw_ray.encoder.task import EncoderTask

SELECTED_FOLDER, OTHER_FOLDER = "encoder", "other"
"""Folders of the selected encoder, and of the other candidate where that is another epoch's."""


def write_output(
    job: RankJob, task: EncoderTask, model: ExpressionModel, curve: Sequence[Mapping[str, Any]], best: BestEncoder, *, num_workers: int
) -> dict[str, Any]:
    """Write the output after the last epoch; all ranks call this together.

    Args:
        job: Input of the rank.
        task: The images.
        model: The model with the weights of the last epoch; afterwards it has those of the selected one.
        curve: Metrics of all epochs.
        best: The encoder of the best epoch.
        num_workers: Threads that read images.

    Returns:
        The metrics of the selected epoch, ``selection`` and ``probe``, the latter on rank 0.
    """
    selection, rank = select_epoch(curve, job.config.select), task.context.rank
    with tempfile.TemporaryDirectory(prefix="abaw-") as name:
        folder = Path(name)
        if rank == 0:
            save_encoder(folder / str(selection.last_epoch), model.encoder)
            save_head(folder / str(selection.last_epoch), model.head, job.config.classes)
            if selection.best_epoch != selection.last_epoch:
                best.fetch(selection.best_epoch, folder / str(selection.best_epoch))
        if selection.epoch != selection.last_epoch:
            _load(model, folder / str(selection.epoch) / WEIGHTS_FILE, rank)
        probe = probe_encoder(task, model, rank, num_workers)
        if rank == 0:
            _upload(job, task, model, curve, selection, probe, folder)
    return {**curve[selection.epoch - 1], "selection": selection.figures(), "probe": probe}


def _load(model: ExpressionModel, weights: Path, rank: int) -> None:
    """Load the encoder's weights on rank 0 and broadcast them."""
    if rank == 0:
        model.encoder.vit.load_state_dict(load_file(weights))
    for value in model.encoder.vit.state_dict().values():
        dist.broadcast(value, 0)


def _upload(
    job: RankJob,
    task: EncoderTask,
    model: ExpressionModel,
    curve: Sequence[Mapping[str, Any]],
    selection: Selection,
    probe: dict[str, Any] | None,
    folder: Path,
) -> None:
    storage, data = job.storage, training_data(task.images)
    folders = {selection.other_epoch: OTHER_FOLDER, selection.epoch: SELECTED_FOLDER}  # one entry where both are the same epoch
    for epoch, name in folders.items():
        card = render_encoder_card(
            job.config,
            data,
            curve[epoch - 1],
            probe if epoch == selection.epoch else None,
            dim=model.encoder.dim,
            selected_by_score=selection.select == "best" and epoch == selection.epoch,
            is_synthetic=job.is_synthetic,
        )
        (folder / str(epoch) / CARD_FILE).write_text(card, encoding="utf-8")
        upload_folder(folder / str(epoch), storage, f"{job.output}/{name}")
    storage.write_bytes(f"{job.output}/curve.json", json.dumps(list(curve), indent=1).encode())
