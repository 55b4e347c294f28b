"""Number of images of one forward and backward pass that should fit into the memory of a GPU: an estimate, measured on none of 24, 80 or 140 GB.

It changes the speed of training, not its result: the gradient is accumulated over the micro-batches of a step.
"""

import math
from typing import NamedTuple

_ACTIVATION_BYTES = 80
"""Bytes that the backward pass keeps per token, block and element of the width: about 34 numbers of bf16 (Korthikanti et al., Reducing activation
recomputation in large Transformer models, 2022, section 4.1, without the attention matrix) and the allocator's overhead. For ViT-L/14 at 224 pixels
0.5 GB an image. Ours."""
_RECOMPUTED_BYTES = 6
"""The same where activations are recomputed: the blocks' inputs, and one block's activations spread over all. Ours."""
_PARAMETER_BYTES = 18
"""Bytes per parameter on one rank: bf16 weight and gradient, float32 master weight, gradient and two averages."""
_RESERVED_BYTES = 2e9
"""For the CUDA context, buckets of gradients and temporary values. Ours."""
_CPU_IMAGES = 64


class EncoderShape(NamedTuple):
    """Sizes of a vision Transformer that determine its memory."""

    depth: int
    """Number of blocks."""
    tokens: int
    """Tokens of an image."""
    dim: int
    """Width of a token."""


def largest_micro_batch(memory_bytes: float | None, shape: EncoderShape, *, parameters: int, recompute: bool) -> int:
    """The largest power of two of images whose pass fits: for ViT-L/14 at 224 pixels 256 with 140 GB, 128 with 80 GB, 32 with 24 GB.

    Args:
        memory_bytes: Memory of the GPU; None on a CPU, which takes 64 images.
        shape: Sizes of the encoder.
        parameters: Number of the model's parameters.
        recompute: Whether activations are recomputed in the backward pass.
    """
    if memory_bytes is None:
        return _CPU_IMAGES
    image = (_RECOMPUTED_BYTES if recompute else _ACTIVATION_BYTES) * math.prod(shape)
    images = (memory_bytes - _PARAMETER_BYTES * parameters - _RESERVED_BYTES) / image
    return 1 << max(int(images), 1).bit_length() - 1
