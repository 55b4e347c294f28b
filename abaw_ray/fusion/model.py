"""Gated fusion: the visual and the speech vector of a frame -> logits of the eight expressions and the weight of the visual vector.

The paper's model classifies each frame alone (section Stage II); ``FusionConfig.head`` has temporal heads besides. Standardization is part of the
model, so its inputs are the extracted features. ``population`` holds the training.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.network.heads import HEADS, Windows
from abaw_ray.fusion.network.layers import LayerNorm, Linear, Members, Standardizer, member_sigmoid
from abaw_ray.fusion.network.noise import TrainingNoise, dropout


class GatedFusion(nn.Module):
    """Projects both vectors to one width, weights them by a gate computed from both, and classifies the weighted pair.

    With ``members`` it is a population: the same model with parameters (and inputs) of their own for every candidate and fold.
    """

    def __init__(self, visual: int, speech: int, config: FusionConfig, members: Members = ()) -> None:
        """Build the layers for feature vectors of these widths; all members have the same initial weights."""
        super().__init__()
        self.config, self.widths = config, (visual, speech)
        width = config.hidden_dim
        self.visual_standardizer, self.speech_standardizer = Standardizer(visual, members[1:]), Standardizer(speech, members[1:])
        self.visual, self.speech = _Projection(visual, width, members), _Projection(speech, width, members)
        if config.gate != "mean":
            self.gate_hidden = Linear(2 * width + 2, width // 2, members)
            self.gate = Linear(width // 2, width if config.gate == "dimension" else 1, members)
        self.head = HEADS[config.head](config, members)

    def forward(
        self,
        visual: Float[Tensor, "*folds n visual"],
        speech: Float[Tensor, "*folds n speech"],
        seen: Bool[Tensor, "*folds n"],
        heard: Bool[Tensor, "*folds n"],
        windows: Windows | None = None,
        noise: TrainingNoise | None = None,
    ) -> tuple[Float[Tensor, "*members n 8"], Float[Tensor, "*members n"]]:
        """Logits of each frame, and the weight of its visual vector.

        Args:
            visual: Visual vectors as extracted; rows without ``seen`` are ignored, whatever they hold.
            speech: Speech vectors as extracted; rows without ``heard`` are ignored, whatever they hold.
            seen: Whether the visual vector is present.
            heard: Whether the speech vector is present.
            windows: The arrangement of the rows, for a temporal head.
            noise: Dropout, in training.

        Returns:
            Logits, and the weight of the visual vector, averaged over the dimensions where each has a gate of its own: exactly 1 where speech is
            missing, exactly 0 where the visual vector is missing. A frame with neither has weight 0 for both, and its logits carry no information
            of its own.
        """
        visual, speech = self.visual_standardizer(visual, seen), self.speech_standardizer(speech, heard)
        if noise is not None:
            seen, heard = noise.modalities(seen, heard)
        visual_hidden, speech_hidden = self.visual(visual, noise) * seen[..., None], self.speech(speech, noise) * heard[..., None]
        both, weight = (seen & heard)[..., None], self._weight(visual_hidden, speech_hidden, seen, heard)
        visual_weight = torch.where(both, weight, seen[..., None].float())
        speech_weight = torch.where(both, 1 - weight, heard[..., None].float())
        pair = torch.cat([visual_hidden * visual_weight, speech_hidden * speech_weight], dim=-1)
        return self.head(pair, windows, noise).float(), visual_weight.mean(dim=-1)

    def _weight(self, visual_hidden: Tensor, speech_hidden: Tensor, seen: Tensor, heard: Tensor) -> Tensor:
        """Weight of the visual vector where there are both vectors, from 0 to 1, in the last dimension."""
        if self.config.gate == "mean":
            return torch.full_like(visual_hidden[..., :1], 0.5, dtype=torch.float32)
        masks = (torch.stack([seen, heard], dim=-1).to(visual_hidden.dtype)).expand(*visual_hidden.shape[:-1], 2)
        hidden = functional.gelu(self.gate_hidden(torch.cat([visual_hidden, speech_hidden, masks], dim=-1)))
        return member_sigmoid(self.gate(hidden).float())


class _Projection(nn.Module):
    """Linear layer, normalization and GELU."""

    def __init__(self, inputs: int, width: int, members: Members) -> None:
        super().__init__()
        self.linear, self.norm = Linear(inputs, width, members), LayerNorm(width, members)

    def forward(self, x: Tensor, noise: TrainingNoise | None) -> Tensor:
        return dropout(functional.gelu(self.norm(self.linear(x))), noise)
