"""Keeps the encoder and the head of the best epoch in storage while later epochs are trained."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from abaw_ray.core.storage.folders import download_folder, upload_folder
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.checkpoint import save_encoder
from abaw_ray.encoder.evaluation.selection import best_epoch
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.output.head import save_head


class BestEncoder:
    """The encoder of the best epoch, below the folder of a run's checkpoints, which is deleted when the output is complete.

    Which epoch is the best follows from the curve, which is part of every checkpoint.
    """

    def __init__(self, storage: Storage, run: str) -> None:
        """Nothing is read or written.

        Args:
            storage: The storage.
            run: Path of the run's checkpoints below the storage root.
        """
        self.storage, self.folder = storage, f"{run}/best"

    def keep(self, model: ExpressionModel, classes: tuple[str, ...], curve: Sequence[Mapping[str, Any]]) -> None:
        """Save encoder and head if the last epoch of the curve is the best so far. Call this before the epoch's checkpoint is written."""
        if best_epoch(curve) != len(curve):
            return
        with tempfile.TemporaryDirectory(prefix="abaw-") as folder:
            save_encoder(Path(folder), model.encoder)
            save_head(Path(folder), model.head, classes)
            upload_folder(Path(folder), self.storage, f"{self.folder}/{len(curve)}")
        # A run can resume from the two checkpoints before this one.
        needed = {str(best_epoch(curve[:count])) for count in range(max(len(curve) - 2, 0), len(curve) + 1)}
        for epoch in {name.partition("/")[0] for name in self.storage.files(self.folder, recursive=True)} - needed:
            self.storage.delete(f"{self.folder}/{epoch}")

    def fetch(self, epoch: int, folder: Path) -> None:
        """Download the encoder of the best epoch into a local folder."""
        download_folder(self.storage, f"{self.folder}/{epoch}", folder)
