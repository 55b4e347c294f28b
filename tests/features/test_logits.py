"""Logits of Stage I's head beside the vectors."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_features_extract import CONFIG, face_table
from test_features_visual import CHIPS, chip

from abaw_ray.core import schema
from abaw_ray.core.errors import DataError
from abaw_ray.encoder.checkpoint import load_encoder
from abaw_ray.encoder.config import MoeConfig
from abaw_ray.encoder.moe import MoeHead
from abaw_ray.encoder.output.head import load_head, save_head
from abaw_ray.faces.chips import crop_scale, decode_jpeg
from abaw_ray.faces.config import ChipConfig
from abaw_ray.features.config import VisualConfig
from abaw_ray.features.extract import ExtractFeatures
from abaw_ray.features.visual import VisualFeatures

CLASSES = ("Neutral", "Anger", "Happiness")


@pytest.fixture(scope="module")
def folder(encoder_folder, tmp_path_factory):
    """The encoder with a head of three experts, whose weights are large enough that pixels change its logits."""
    folder = tmp_path_factory.mktemp("with-head") / "encoder"
    shutil.copytree(encoder_folder, folder)
    torch.manual_seed(1)
    head = MoeHead(24, len(CLASSES), MoeConfig(num_experts=3, top_k=2, hidden_dim=8))
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(3)
    save_head(folder, head, CLASSES)
    return folder


def test_logits_are_the_mean_of_the_head_over_the_scales(folder):
    chips = [chip(0), None, chip(1)]
    found = VisualFeatures(folder, VisualConfig(logits=True), CHIPS)(chips)
    encoder, (head, _) = load_encoder(folder), load_head(folder)
    for row in (0, 2):
        crops = [crop_scale(decode_jpeg(chips[row]), scale, CHIPS, 28).transpose(2, 0, 1) for scale in CHIPS.scales]
        with torch.inference_mode():
            wanted = head(encoder(torch.from_numpy(np.stack(crops)))).logits.mean(dim=0)
        np.testing.assert_allclose(found.logits[row].astype(np.float32), wanted, atol=5e-3)
    assert np.abs(found.logits[0] - found.logits[2]).max() > 0.01


def test_vectors_are_the_same_with_and_without_logits(folder):
    chips = [chip(seed) for seed in range(4)]
    with_logits, without = (VisualFeatures(folder, VisualConfig(logits=logits), CHIPS)(chips) for logits in (True, False))
    assert (with_logits.vectors == without.vectors).all()
    assert with_logits.logits.shape == (4, 3) and without.logits.shape == (4, 0)


def test_the_table_has_logits_where_it_has_a_face_and_the_names_of_their_classes(folder):
    config = replace(CONFIG, visual=VisualConfig(logits=True))
    table = ExtractFeatures(config, ChipConfig(size=28), folder)(face_table(), None)
    assert table.schema == schema.feature(24, 32, CLASSES)
    assert table.schema.field("logits").metadata[b"classes"].decode().split(",") == list(CLASSES)
    for row in table.to_pylist():
        assert (row["logits"] is None) == (not row["seen"])


def test_an_encoder_without_a_head_is_refused(encoder_folder):
    with pytest.raises(DataError, match="the head of Stage I; train the encoder again, or set features.visual.logits to false"):
        VisualFeatures(encoder_folder, VisualConfig(logits=True), CHIPS)
