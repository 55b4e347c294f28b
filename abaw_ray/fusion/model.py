"""Gated fusion: the visual and the speech vector of one frame -> scores of eight expressions and how far each modality was trusted.

Per frame, as in the paper (section Stage II); time comes in only afterwards, by smoothing. Standardisation is part of the model, so its
input is the features as they were extracted. Training stands in ``train``.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.fusion.frames import Frames, Mode
from abaw_ray.training.config import LossConfig, OptimConfig

_ROWS = 65_536
"""Rows of one piece while means are summed."""
_STILL = 1e-4
"""Standard deviation below which a number says nothing; it is then divided by 1."""


@dataclass(frozen=True, kw_only=True)
class FusionConfig:
    """One fusion model and its training. The paper publishes only that the gate is light; all values ours."""

    mode: Mode = "fused"
    """``visual`` and ``speech``: a model of that modality alone, for which the other one is always missing."""
    hidden: int = 128
    """Width of the projections and of the classifier."""
    dropout: float = 0.3
    """Share of hidden numbers dropped in training."""
    modality_dropout: float = 0.3
    """Share of training frames with both modalities that lose one of them, each as often."""
    optim: OptimConfig = OptimConfig(lr=1e-3, layer_decay=1.0, weight_decay=0.05)
    """Rates of AdamW; ``layer_decay`` is without effect, all layers start from random weights."""
    loss: LossConfig = LossConfig()
    """How rare expressions are heard."""
    epochs: int = 20
    """Passes over the training frames."""
    batch: int = 256
    """Frames of a step."""
    seed: int = 0
    """Of first weights, order of frames and dropout."""

    def __post_init__(self) -> None:
        """Refuse sizes and shares that cannot be."""
        if self.mode not in ("fused", "visual", "speech"):
            raise ConfigError(f"fusion.mode={self.mode} must be fused, visual or speech")
        for name in ("hidden", "epochs", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"fusion.{name}={getattr(self, name)} must be at least 1")
        for name in ("dropout", "modality_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"fusion.{name}={getattr(self, name)} is a share; it must be at least 0 and below 1")


class Standard(nn.Module):
    """Subtracts the mean and divides by the standard deviation that the training frames have; fixed, saved with the model."""

    def __init__(self, width: int) -> None:
        """Begin with mean 0 and deviation 1."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def fit(self, vectors: Float[np.ndarray, "n width"], rows: Int[np.ndarray, " rows"]) -> None:
        """Take mean and deviation over these rows and no others; without rows nothing changes."""
        if not len(rows):
            return
        mean = _mean(vectors, rows, lambda x: x)
        std = np.sqrt(_mean(vectors, rows, lambda x: (x - mean) ** 2))
        self.mean.copy_(torch.from_numpy(mean))
        self.std.copy_(torch.from_numpy(np.where(std < _STILL, 1.0, std)))

    def forward(self, vectors: Float[Tensor, "n width"], there: Bool[Tensor, " n"]) -> Float[Tensor, "n width"]:
        """Standardised vectors; exactly 0, the mean, where the vector is not there, whatever its row holds."""
        return torch.where(there[:, None], (vectors.float() - self.mean) / self.std, 0.0)


def _mean(vectors: np.ndarray, rows: np.ndarray, of: object) -> np.ndarray:
    total = np.zeros(vectors.shape[1])
    for start in range(0, len(rows), _ROWS):
        total += of(vectors[rows[start : start + _ROWS]].astype(np.float64)).sum(axis=0)
    return total / len(rows)


class GatedFusion(nn.Module):
    """Both vectors to one width, a gate from both that shares out trust, a classifier on the weighted pair."""

    def __init__(self, visual: int, speech: int, config: FusionConfig) -> None:
        """Build for vectors of these widths."""
        super().__init__()
        self.config, self.widths = config, (visual, speech)
        width = config.hidden
        self.visual_standard, self.speech_standard = Standard(visual), Standard(speech)
        self.visual = _projection(visual, config)
        self.speech = _projection(speech, config)
        self.gate = nn.Sequential(nn.Linear(2 * width + 2, width // 2), nn.GELU(), nn.Linear(width // 2, 1))
        self.classifier = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(width, len(EXPRESSIONS)))

    def fit_standard(self, frames: Frames, rows: Int[np.ndarray, " rows"]) -> None:
        """Take the standardisation from these training rows, each modality from those that have it."""
        self.visual_standard.fit(frames.visual, rows[frames.seen[rows]])
        self.speech_standard.fit(frames.speech, rows[frames.heard[rows]])

    def forward(
        self,
        visual: Float[Tensor, "n visual"],
        speech: Float[Tensor, "n speech"],
        seen: Bool[Tensor, " n"],
        heard: Bool[Tensor, " n"],
    ) -> tuple[Float[Tensor, "n 8"], Float[Tensor, " n"]]:
        """Score frames.

        Args:
            visual: As extracted; a row without ``seen`` is not read, whatever it holds.
            speech: As extracted; a row without ``heard`` is not read.
            seen: Whether the visual vector may be used.
            heard: Whether the speech vector may be used.

        Returns:
            Logits, and the weight of the visual vector: exactly 0 or 1 where the other is alone. A frame with neither has weight 0 for
            both and logits that mean nothing.
        """
        if self.training:
            seen, heard = self._drop(seen, heard)
        one = self.visual(self.visual_standard(visual, seen)) * seen[:, None]
        two = self.speech(self.speech_standard(speech, heard)) * heard[:, None]
        trust = torch.sigmoid(self.gate(torch.cat([one, two, seen[:, None], heard[:, None]], dim=1)).squeeze(1).float())
        of_visual = torch.where(seen & heard, trust, seen.float())
        of_speech = torch.where(seen & heard, 1 - trust, heard.float())
        return self.classifier(torch.cat([one * of_visual[:, None], two * of_speech[:, None]], dim=1)).float(), of_visual

    def _drop(self, seen: Tensor, heard: Tensor) -> tuple[Tensor, Tensor]:
        """Modality dropout: some frames with both lose one, so that each also learns to stand alone."""
        drawn, half = torch.rand(len(seen), device=seen.device), self.config.modality_dropout / 2
        both = seen & heard
        return seen & ~(both & (drawn < half)), heard & ~(both & (drawn > 1 - half))


def _projection(width: int, config: FusionConfig) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, config.hidden), nn.LayerNorm(config.hidden), nn.GELU(), nn.Dropout(config.dropout))
