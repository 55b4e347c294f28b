"""Gated fusion: the visual and the speech vector of a frame -> logits of the eight expressions and the weight of the visual vector.

Frame-wise, as in the paper (section Stage II); temporal context comes later, from smoothing. Standardization is part of the model, so its
inputs are the extracted features. ``train`` holds the training.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.frames import Frames

_CHUNK_ROWS = 65_536
"""Rows summed at a time while means are computed; bounds memory."""
_MIN_STD = 1e-4
"""Features with a smaller standard deviation are treated as constant and divided by 1."""


class Standardizer(nn.Module):
    """Subtracts the mean and divides by the standard deviation of the training frames; fixed buffers, saved with the model."""

    mean: Tensor
    std: Tensor

    def __init__(self, width: int) -> None:
        """Start with mean 0 and standard deviation 1."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def fit(self, vectors: Float[np.ndarray, "n width"], rows: Int[np.ndarray, " rows"]) -> None:
        """Set mean and standard deviation to those of the given rows; without rows nothing changes."""
        if not len(rows):
            return
        mean = _mean_of(vectors, rows, lambda x: x)
        std = np.sqrt(_mean_of(vectors, rows, lambda x: (x - mean) ** 2))
        self.mean.copy_(torch.from_numpy(mean))
        self.std.copy_(torch.from_numpy(np.where(std < _MIN_STD, 1.0, std)))

    def forward(self, vectors: Float[Tensor, "n width"], present: Bool[Tensor, " n"]) -> Float[Tensor, "n width"]:
        """Standardized vectors; exactly 0, the mean, where the vector is missing, whatever its row holds."""
        return torch.where(present[:, None], (vectors.float() - self.mean) / self.std, 0.0)


def _mean_of(vectors: np.ndarray, rows: np.ndarray, transform: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Column means of the transformed rows, in float64, chunk by chunk."""
    total = np.zeros(vectors.shape[1])
    for start in range(0, len(rows), _CHUNK_ROWS):
        total += transform(vectors[rows[start : start + _CHUNK_ROWS]].astype(np.float64)).sum(axis=0)
    return total / len(rows)


class GatedFusion(nn.Module):
    """Projects both vectors to one width, weights them by a gate computed from both, and classifies the weighted pair."""

    def __init__(self, visual: int, speech: int, config: FusionConfig) -> None:
        """Build the layers for feature vectors of these widths."""
        super().__init__()
        self.config, self.widths = config, (visual, speech)
        width = config.hidden_dim
        self.visual_standardizer, self.speech_standardizer = Standardizer(visual), Standardizer(speech)
        self.visual = _projection(visual, config)
        self.speech = _projection(speech, config)
        self.gate = nn.Sequential(nn.Linear(2 * width + 2, width // 2), nn.GELU(), nn.Linear(width // 2, 1))
        self.classifier = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(width, len(EXPRESSIONS)))

    def fit_standardizers(self, frames: Frames, rows: Int[np.ndarray, " rows"]) -> None:
        """Fit the standardization on these training rows; each modality uses the rows in which it is present."""
        self.visual_standardizer.fit(frames.visual, rows[frames.seen[rows]])
        self.speech_standardizer.fit(frames.speech, rows[frames.heard[rows]])

    def forward(
        self,
        visual: Float[Tensor, "n visual"],
        speech: Float[Tensor, "n speech"],
        seen: Bool[Tensor, " n"],
        heard: Bool[Tensor, " n"],
    ) -> tuple[Float[Tensor, "n 8"], Float[Tensor, " n"]]:
        """Logits of each frame, and the weight of its visual vector.

        Args:
            visual: Visual vectors as extracted; rows without ``seen`` are ignored, whatever they hold.
            speech: Speech vectors as extracted; rows without ``heard`` are ignored, whatever they hold.
            seen: Whether the visual vector is present.
            heard: Whether the speech vector is present.

        Returns:
            Logits, and the weight of the visual vector: exactly 1 where speech is missing, exactly 0 where the visual vector is missing. A frame
            with neither has weight 0 for both, and its logits carry no information.
        """
        if self.training:
            seen, heard = self._drop_modalities(seen, heard)
        visual_hidden = self.visual(self.visual_standardizer(visual, seen)) * seen[:, None]
        speech_hidden = self.speech(self.speech_standardizer(speech, heard)) * heard[:, None]
        gate = torch.sigmoid(self.gate(torch.cat([visual_hidden, speech_hidden, seen[:, None], heard[:, None]], dim=1)).squeeze(1).float())
        visual_weight = torch.where(seen & heard, gate, seen.float())
        speech_weight = torch.where(seen & heard, 1 - gate, heard.float())
        weighted = torch.cat([visual_hidden * visual_weight[:, None], speech_hidden * speech_weight[:, None]], dim=1)
        return self.classifier(weighted).float(), visual_weight

    def _drop_modalities(self, seen: Tensor, heard: Tensor) -> tuple[Tensor, Tensor]:
        """Modality dropout: masks with one modality removed from some frames that have both, so that each alone can be classified."""
        uniform, half = torch.rand(len(seen), device=seen.device), self.config.modality_dropout / 2
        both = seen & heard
        return seen & ~(both & (uniform < half)), heard & ~(both & (uniform > 1 - half))


def _projection(width: int, config: FusionConfig) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, config.hidden_dim), nn.LayerNorm(config.hidden_dim), nn.GELU(), nn.Dropout(config.dropout))
