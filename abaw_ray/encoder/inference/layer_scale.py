"""A trained vision Transformer -> the same function with fewer operations: LayerScale becomes part of the projections before it.

For inference only: the parameters get other values and some of their names vanish, so a folded model is not saved or trained.
"""

import torch
from timm.layers.layer_scale import LayerScale
from timm.models.eva import EvaBlock
from timm.models.vision_transformer import Block
from torch import Tensor, nn


@torch.no_grad()
def fold_layer_scale(vit: nn.Module) -> int:
    """Multiply the last projections of attention and MLP by the factors of LayerScale, and remove these; returns the number of removed layers.

    ``Block`` of timm's ``VisionTransformer`` (``ls1``, ``ls2``) and ``EvaBlock`` (``gamma_1``, ``gamma_2``) are folded; other blocks stay.
    Touvron et al., Going deeper with image transformers, 2021, section 3.
    """
    blocks = [block for block in vit.modules() if isinstance(block, (Block, EvaBlock))]
    branches = [(block, number, *names) for block in blocks for number, names in ((1, ("attn", "proj")), (2, ("mlp", "fc2")))]
    return sum(_fold_branch(block, number, getattr(getattr(block, branch), name, None)) for block, number, branch, name in branches)


def _fold_branch(block: nn.Module, number: int, projection: nn.Module | None) -> bool:
    layer, gamma = getattr(block, f"ls{number}", None), getattr(block, f"gamma_{number}", None)
    if not isinstance(projection, nn.Linear):
        return False
    if isinstance(layer, LayerScale):
        _multiply(projection, layer.gamma)
        setattr(block, f"ls{number}", nn.Identity())
        return True
    if isinstance(gamma, nn.Parameter):
        _multiply(projection, gamma)
        setattr(block, f"gamma_{number}", None)
        return True
    return False


def _multiply(projection: nn.Linear, factors: Tensor) -> None:
    projection.weight.mul_(factors[:, None])
    if projection.bias is not None:
        projection.bias.mul_(factors)
