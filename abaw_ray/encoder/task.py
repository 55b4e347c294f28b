"""What Stage I does in a step: images of the step to pixels, pixels to the loss, and the score on the validation images.

Everything is a function of (seed, step, image); which ranks share the work changes nothing. No engine and no Ray here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from abaw_ray.core.errors import DataError
from abaw_ray.encoder.augment import augmented, centred
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.encoder.images import ImageSet
from abaw_ray.encoder.model import Encoder, build_encoder, layer_of
from abaw_ray.encoder.moe import MoeHead, Routed, balance_loss, same
from abaw_ray.encoder.score import Counts
from abaw_ray.training.loop import ahead
from abaw_ray.training.losses import ClassLoss
from abaw_ray.training.optim import parameter_groups
from abaw_ray.training.sampler import Sampler


class Piece(NamedTuple):
    """Images that go through the model at once."""

    pixels: UInt8[Tensor, "n 3 size size"]
    labels: Int[Tensor, " n"]
    factor: float
    """What the sum of the weighted losses is multiplied by, so that the mean over ranks and pieces is the loss of the global batch."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a process stands among those that train together."""

    rank: int = 0
    ranks: int = 1
    device: str = "cpu"
    mean_over_ranks: Callable[[Tensor], Tensor] = same
    """Mean of a vector over the ranks."""


class ExpressionModel(nn.Module):
    """Encoder and head as they are trained."""

    def __init__(self, config: EncoderConfig) -> None:
        """Build with weights drawn from the seed, or loaded."""
        super().__init__()
        torch.manual_seed(config.seed)
        self.encoder: Encoder = build_encoder(config.model)
        if config.recompute:
            self.encoder.vit.set_grad_checkpointing()
        self.head = MoeHead(self.encoder.dim, len(config.classes), config.moe)

    def forward(self, pixels: UInt8[Tensor, "n 3 size size"]) -> Routed:
        """Logits and what the router did."""
        return self.head(self.encoder(pixels))

    def groups(self, config: EncoderConfig) -> list[dict]:
        """Parameter groups: a layer each for the embeddings, each block, and all that follows."""
        layers = len(self.encoder.vit.blocks) + 2

        def layer(name: str) -> int:
            found = layer_of(name.removeprefix("encoder.vit.")) if name.startswith("encoder.") else None
            return layers - 1 if found is None else found

        def no_decay(name: str, parameter: nn.Parameter) -> bool:
            return name.split(".")[-1] in ("pos_embed", "cls_token", "reg_token") or name.endswith("_bias")

        return parameter_groups(self.named_parameters(), config.optim, layer_of=layer, layers=layers, no_decay=no_decay)


class EncoderTask:
    """Steps and scores of one training set."""

    def __init__(self, config: EncoderConfig, images: ImageSet, place: Place | None = None) -> None:
        """Prepare one rank's view.

        Raises:
            ConfigError: the ranks do not divide the batch.
            DataError: a split is empty.
        """
        cv2.setNumThreads(1)
        self.config, self.images, self.place = config, images, place or Place()
        self.train, self.val = images.rows("train"), images.rows("val")
        for name, rows in (("train", self.train), ("val", self.val)):
            if len(rows) == 0:
                raise DataError(f"images: the '{name}' split is empty; Stage I trains on one and is scored on the other")
        config.check_ranks(self.place.ranks)
        self.sampler = Sampler(size=len(self.train), batch=config.global_batch, seed=config.seed)
        self.loss = ClassLoss(config.loss, images.labels[self.train], len(config.classes))

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch."""
        return self.sampler.steps_per_epoch

    @property
    def pieces_per_step(self) -> int:
        """Pieces into which a rank's share of a step is cut, equally large."""
        return pieces_of_share(self.config.global_batch // self.place.ranks, self.config.piece)

    def seed(self, step: int) -> int:
        """Of PyTorch's own random numbers in a step; ranks drop different blocks."""
        return int(np.random.SeedSequence([self.config.seed, step, self.place.rank]).generate_state(1)[0])

    def pieces(self, step: int) -> list[Piece]:
        """The share of a step that this rank takes."""
        labels = self.images.labels
        total = self.loss.weight(labels[self.train[self.sampler.indices(step)]])
        share = self.train[self.sampler.share(step, self.place.rank, self.place.ranks)]
        parts = np.split(share, self.pieces_per_step)
        factor = self.place.ranks * len(parts) / total
        return [Piece(self._stack([self._view(int(row), step) for row in rows]), torch.from_numpy(labels[rows]), factor) for rows in parts]

    def loss_of(self, model: Callable[[Tensor], Routed], piece: Piece) -> Tensor:
        """The loss whose mean over ranks and pieces a step lowers: weighted cross-entropy and the router's balance."""
        device = self.place.device
        routed = model(piece.pixels.to(device, non_blocking=True))
        classes = self.loss(routed.logits, piece.labels.to(device)).sum() * piece.factor
        if self.config.moe.experts == 1 or self.config.moe.balance == 0:
            return classes
        return classes + self.config.moe.balance * balance_loss(routed, self.place.mean_over_ranks)

    @torch.no_grad()
    def count(self, model: nn.Module, batch: int = 128, threads: int = 0) -> Counts:
        """Count this rank's validation images: every ``ranks``-th one, none left out, none twice; ``threads`` read batches ahead."""
        counts = Counts(len(self.config.classes), self.config.moe.experts)
        was = model.training
        model.eval()
        for pixels, labels in self._validation(batch, threads):
            counts.add(model(pixels.to(self.place.device)), labels)
        model.train(was)
        return counts

    def _validation(self, batch: int, threads: int) -> Iterator[tuple[Tensor, Tensor]]:
        own = self.val[self.place.rank :: self.place.ranks]
        batches = [own[start : start + batch] for start in range(0, len(own), batch)]
        for rows, pixels in zip(batches, ahead(batches, self._plain, threads), strict=True):
            yield pixels, torch.from_numpy(self.images.labels[rows])

    def _plain(self, rows: np.ndarray) -> Tensor:
        """What validation sees of these rows."""
        size, scale, images = self.config.model.size, sum(self.config.augment.scales) / 2, self.images
        return self._stack([centred(images.pixels(int(row)), size=size, stored_scale=float(images.scale[row]), scale=scale) for row in rows])

    def _view(self, row: int, step: int) -> np.ndarray:
        rng = np.random.default_rng([self.config.seed, step, row])
        stored_scale = float(self.images.scale[row])
        return augmented(self.images.pixels(row), rng, size=self.config.model.size, stored_scale=stored_scale, config=self.config.augment)

    @staticmethod
    def _stack(views: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)


def pieces_of_share(share: int, piece: int) -> int:
    """The smallest number of equal pieces of a rank's share that are no larger than ``piece``."""
    return next(count for count in range(1, share + 1) if share % count == 0 and share // count <= piece)
