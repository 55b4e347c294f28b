import numpy as np
import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2Model

from abaw_ray.encoder.checkpoint import save_encoder
from abaw_ray.encoder.config import ModelConfig
from abaw_ray.encoder.model import build_encoder
from abaw_ray.media.audio import RATE, Audio


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory):
    """Folder of a saved vision Transformer for images of 28 pixels (four patches)."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    config = ModelConfig(
        name="vit_small_patch14_dinov2", img_size=28, embed_dim=24, depth=1, num_heads=2, init_values=0, drop_path_rate=0, weights="random"
    )
    encoder = build_encoder(config)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(1)
            elif name.endswith("weight") and parameter.ndim > 1:
                parameter.mul_(10)  # timm's initial weights are so small that pixels hardly change the output
    save_encoder(folder, encoder)
    return folder


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """Folder of a small Wav2Vec 2.0 of the published base architecture (7 convolutions, group norm) with random weights, saved by transformers."""
    folder = tmp_path_factory.mktemp("wav2vec2")
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        conv_dim=(16,) * 7,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        initializer_range=0.2,
    )
    Wav2Vec2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def speech():
    """Twelve seconds of a gliding tone with pauses and noise, which begin 0.4 s before the first video frame."""
    rng = np.random.default_rng(0)
    time = np.arange(12 * RATE) / RATE
    tone = np.sin(2 * np.pi * np.cumsum(150 + 100 * np.sin(2 * np.pi * 0.4 * time)) / RATE) * (np.sin(2 * np.pi * 1.3 * time) > -0.5)
    return Audio((0.3 * tone + 0.01 * rng.normal(size=len(time))).astype(np.float32), -0.4)
