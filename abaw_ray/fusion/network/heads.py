"""Heads of the fusion model: weighted pairs of vectors -> logits, from each frame alone or from the frames around it.

The two temporal heads read windows: rows at about equal distances in time, of one subject, without a cut or a gap between them.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.fusion.config import ATTENTION_HEADS, FusionConfig
from abaw_ray.fusion.network.layers import LayerNorm, Linear, Members
from abaw_ray.fusion.network.noise import TrainingNoise, dropout

_BLOCKS = 2
"""Blocks of the Transformer. Ours."""
_SMALLEST_SLOPE = 0.25
"""Rate at which the attention of the first head falls, per second; that of each further head is twice as large. Ours."""


class Windows(NamedTuple):
    """The arrangement of the rows of a batch: windows of ``length`` rows, one after another."""

    length: int
    valid: Bool[Tensor, "*folds n"]
    """Whether the row is a frame; the others fill windows up."""
    time: Float[Tensor, "*folds n"]
    """Presentation time in seconds; only differences within a window matter."""


class FrameHead(nn.Module):
    """Each frame alone, as in the paper (section Stage II)."""

    def __init__(self, config: FusionConfig, members: Members) -> None:
        """Allocate two layers."""
        super().__init__()
        self.hidden = Linear(2 * config.hidden_dim, config.hidden_dim, members)
        self.output = Linear(config.hidden_dim, len(EXPRESSIONS), members)

    def forward(self, x: Float[Tensor, "*members n pair"], windows: Windows | None, noise: TrainingNoise | None) -> Float[Tensor, "*members n 8"]:
        """Logits."""
        return self.output(dropout(functional.gelu(self.hidden(x)), noise))


class ConvHead(nn.Module):
    """Residual dilated convolutions over the rows of a window; a row that is no frame counts as zeros.

    Source: Lea et al., Temporal convolutional networks for action segmentation and detection, CVPR 2017. Widths and depth are ours.
    """

    def __init__(self, config: FusionConfig, members: Members) -> None:
        """Allocate one layer per dilation between the input's and the output's."""
        super().__init__()
        width, self.dilations = config.hidden_dim, dilations(config.window_rows)
        self.hidden = Linear(2 * width, width, members)
        self.norms = nn.ModuleList(LayerNorm(width, members) for _ in self.dilations)
        self.layers = nn.ModuleList(Linear(3 * width, width, members) for _ in self.dilations)
        self.output = Linear(width, len(EXPRESSIONS), members)

    def forward(self, x: Float[Tensor, "*members n pair"], windows: Windows, noise: TrainingNoise | None) -> Float[Tensor, "*members n 8"]:
        """Logits."""
        x, valid = functional.gelu(self.hidden(x)), windows.valid[..., None]
        for dilation, norm, layer in zip(self.dilations, self.norms, self.layers, strict=True):
            rows = (norm(x) * valid).unflatten(-2, (-1, windows.length))
            taps = [_shifted(rows, offset).flatten(-3, -2) for offset in (-dilation, 0, dilation)]
            x = x + dropout(functional.gelu(layer(torch.cat(taps, dim=-1))), noise)
        return self.output(x)


class AttentionHead(nn.Module):
    """A small Transformer over the frames of a window. A head's attention falls with the distance in time, at a rate of its own: there are no
    position embeddings, so any frame rate will do (after Press et al., Train short, test long, ICLR 2022, with seconds in place of positions).
    """

    slopes: Tensor

    def __init__(self, config: FusionConfig, members: Members) -> None:
        """Allocate the blocks."""
        super().__init__()
        width = config.hidden_dim
        self.hidden = Linear(2 * width, width, members)
        self.attention_norms = nn.ModuleList(LayerNorm(width, members) for _ in range(_BLOCKS))
        self.projections = nn.ModuleList(Linear(width, 3 * width, members) for _ in range(_BLOCKS))
        self.mixtures = nn.ModuleList(Linear(width, width, members) for _ in range(_BLOCKS))
        self.norms = nn.ModuleList(LayerNorm(width, members) for _ in range(_BLOCKS))
        self.expansions = nn.ModuleList(Linear(width, 2 * width, members) for _ in range(_BLOCKS))
        self.contractions = nn.ModuleList(Linear(2 * width, width, members) for _ in range(_BLOCKS))
        self.output = Linear(width, len(EXPRESSIONS), members)
        self.register_buffer("slopes", _SMALLEST_SLOPE * 2.0 ** torch.arange(ATTENTION_HEADS), persistent=False)

    def forward(self, x: Float[Tensor, "*members n pair"], windows: Windows, noise: TrainingNoise | None) -> Float[Tensor, "*members n 8"]:
        """Logits."""
        x, bias = self.hidden(x), self._bias(windows)
        for block in range(_BLOCKS):
            attended = self._attend(self.projections[block](self.attention_norms[block](x)), bias, windows.length)
            x = x + dropout(self.mixtures[block](attended), noise)
            wide = functional.gelu(self.expansions[block](self.norms[block](x)))
            x = x + dropout(self.contractions[block](wide), noise)
        return self.output(x)

    def _bias(self, windows: Windows) -> Float[Tensor, "*folds windows heads length length"]:
        """Added to the scores: minus the distance in time times the head's rate; minus infinity for rows that are no frames."""
        time = windows.time.unflatten(-1, (-1, 1, windows.length))
        bias = -(time[..., None] - time[..., None, :]).abs() * self.slopes[:, None, None]
        valid = windows.valid.unflatten(-1, (-1, 1, 1, windows.length))
        own = torch.eye(windows.length, dtype=torch.bool, device=bias.device)  # a row that is no frame reads itself, so that no row reads nothing
        return torch.where(valid | own, bias, -torch.inf)

    def _attend(self, projected: Tensor, bias: Tensor, length: int) -> Float[Tensor, "*members n width"]:
        parts = projected.unflatten(-2, (-1, length)).unflatten(-1, (3, ATTENTION_HEADS, -1)).movedim(-3, 0).transpose(-3, -2)
        query, key, value = (part.flatten(0, -4) for part in parts)
        mask = bias.expand(*parts.shape[1:-3], *bias.shape[-3:]).flatten(0, -4).to(query.dtype)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return mixed.unflatten(0, parts.shape[1:-3]).transpose(-3, -2).flatten(-2).flatten(-3, -2)


HEADS: dict[str, type[FrameHead] | type[ConvHead] | type[AttentionHead]] = {"frame": FrameHead, "conv": ConvHead, "attention": AttentionHead}
"""The heads by the names of ``FusionConfig.head``."""


def dilations(window_rows: int) -> list[int]:
    """Rows between the three rows that each convolution reads: doubled from layer to layer until the middle of a window sees all of it."""
    found = [1]
    while sum(found) < window_rows // 2:
        found.append(2 * found[-1])
    return found


def _shifted(rows: Float[Tensor, "*members windows length width"], offset: int) -> Float[Tensor, "*members windows length width"]:
    """The rows ``offset`` places later in their window; zeros beyond its ends."""
    if not offset:
        return rows
    length = rows.shape[-2]
    kept = rows[..., max(offset, 0) : length + min(offset, 0), :]
    return functional.pad(kept, (0, 0, max(-offset, 0), max(offset, 0)))
