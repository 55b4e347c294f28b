"""Encoder and classification head together, as Stage I trains them: pixels -> logits."""

from pathlib import Path

import torch
from jaxtyping import UInt8
from safetensors.torch import load_file
from torch import Tensor, nn

from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.encoder.memory import largest_micro_batch
from abaw_ray.encoder.model import Encoder, build_encoder, layer_of
from abaw_ray.encoder.moe import MoeHead, MoeOutput
from abaw_ray.encoder.noise import Noise, NoiseSizes, set_noise, use_stochastic_depth
from abaw_ray.encoder.output.head import load_head
from abaw_ray.encoder.vit.saved_encoder import WEIGHTS_FILE
from abaw_ray.training.optim import parameter_groups


class ExpressionModel(nn.Module):
    """Encoder and classification head as they are trained."""

    def __init__(self, config: EncoderConfig, storage: StorageConfig | None = None) -> None:
        """Build with weights initialized from the seed, or loaded; ``storage`` has the settings of object stores, for weights at a URI."""
        super().__init__()
        torch.manual_seed(config.seed)
        self.encoder: Encoder = build_encoder(config.model, storage)
        self._depth_layers = use_stochastic_depth(self.encoder.vit)
        self.head = MoeHead(self.encoder.dim, len(config.classes), config.moe)

    def forward(self, pixels: UInt8[Tensor, "n 3 size size"], noise: Noise | None = None) -> MoeOutput:
        """Logits, router probabilities and gate; in training with stochastic depth or dropout, ``noise`` has the random numbers of these samples."""
        set_noise(self._depth_layers, None if noise is None else noise.paths)
        return self.head(self.encoder(pixels), noise.features if noise is not None and self.head.config.dropout else None)

    def load(self, folder: Path) -> None:
        """Load the weights of encoder and head from an output of Stage I with the same architecture and classes.

        Raises:
            DataError: the folder has no complete head.
        """
        self.encoder.vit.load_state_dict(load_file(folder / WEIGHTS_FILE))
        self.head.load_state_dict(load_head(folder)[0].state_dict())

    @property
    def noise_sizes(self) -> NoiseSizes:
        """Random numbers that it needs per sample in training."""
        return NoiseSizes(paths=len(self._depth_layers), features=self.encoder.dim if self.head.config.dropout else 0)

    def largest_micro_batch(self, device: str, *, recompute: bool) -> int:
        """Number of images of a pass that fits into the memory of this device, with or without recomputation of activations."""
        memory = torch.cuda.get_device_properties(device).total_memory if torch.device(device).type == "cuda" else None
        count = sum(parameter.numel() for parameter in self.parameters())
        return largest_micro_batch(memory, self.encoder.shape, parameters=count, recompute=recompute)

    def parameter_groups(self, config: EncoderConfig) -> list[dict]:
        """Parameter groups with layer-wise learning rate decay; the layers are the embeddings, each block, and everything after the blocks."""
        layers = self.encoder.depth + 2

        def layer(name: str) -> int:
            index = layer_of(name.removeprefix("encoder.vit.")) if name.startswith("encoder.") else None
            return layers - 1 if index is None else index

        def no_decay(name: str, parameter: nn.Parameter) -> bool:
            return self.encoder.has_no_weight_decay(name.removeprefix("encoder.vit.")) or name.endswith("_bias")

        return parameter_groups(self.named_parameters(), config.optim, layer_of=layer, layers=layers, no_decay=no_decay)
