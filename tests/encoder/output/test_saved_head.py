import json

import pytest
import timm
import torch

from abaw_ray.core.errors import DataError
from abaw_ray.encoder.checkpoint import save_encoder
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.output.head import HEAD_CONFIG_FILE, HEAD_WEIGHTS_FILE, load_head, save_head


@pytest.fixture
def folder(config, tmp_path):
    model = ExpressionModel(config)
    save_encoder(tmp_path, model.encoder)
    save_head(tmp_path, model.head, config.classes)
    return tmp_path


def test_a_loaded_head_gives_the_logits_of_the_saved_one(config, tmp_path):
    model = ExpressionModel(config).eval()
    save_head(tmp_path, model.head, config.classes)
    head, classes = load_head(tmp_path)
    vectors = torch.randn(5, model.encoder.dim)
    assert classes == config.classes and not head.training
    assert torch.equal(head(vectors).logits, model.head(vectors).logits)


def test_timm_loads_the_encoder_beside_the_head(folder):
    assert timm.create_model(f"local-dir:{folder}", pretrained=True).num_features == 32


@pytest.mark.parametrize("name", [HEAD_CONFIG_FILE, HEAD_WEIGHTS_FILE])
def test_a_folder_without_a_head_says_what_to_do(folder, name):
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"holds no {name}, the head of Stage I; train the encoder again"):
        load_head(folder)


def test_a_damaged_head_is_refused(folder):
    body = json.loads((folder / HEAD_CONFIG_FILE).read_text())
    (folder / HEAD_CONFIG_FILE).write_text(json.dumps(body | {"dim": 7}))
    with pytest.raises(DataError, match="no complete head"):
        load_head(folder)
    (folder / HEAD_CONFIG_FILE).write_text(json.dumps(body))
    (folder / HEAD_WEIGHTS_FILE).write_bytes(b"damaged")
    with pytest.raises(DataError, match="no complete head"):
        load_head(folder)
