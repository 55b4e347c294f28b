"""Small checkpoints of image classifiers with random weights, as timm and transformers save them."""

import json

import numpy as np
import timm
import torch
from timm.models import save_for_hf
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

SEVEN = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
EIGHT = ("Neutral", "Happiness", "Sadness", "Surprise", "Fear", "Disgust", "Anger", "Contempt")


def save_timm(folder, labels=SEVEN, channels=3):
    """A ResNet of timm for 64 of 72 pixels, with its own mean, standard deviation and names of classes."""
    torch.manual_seed(1)
    model = timm.create_model("resnet10t", num_classes=len(labels), in_chans=channels)
    _spread(model)
    data = {"input_size": [channels, 64, 64], "crop_pct": 0.875, "interpolation": "bicubic", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}
    model.pretrained_cfg = model.pretrained_cfg | data
    save_for_hf(model, folder, model_config={"label_names": list(labels)}, safe_serialization=True)
    return folder


def save_transformers(folder, labels=EIGHT, **processor):
    """A vision Transformer for 32 pixels, and the settings of its image processor."""
    torch.manual_seed(2)
    names = dict(enumerate(labels))
    config = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=8, id2label=names)
    model = ViTForImageClassification(config)
    _spread(model)
    model.save_pretrained(folder)
    ViTImageProcessor(**({"size": {"height": 32, "width": 32}} | processor)).save_pretrained(folder)
    return folder


def _spread(model):
    """Make the outputs of random weights differ clearly between images."""
    with torch.no_grad():
        model.get_parameter(next(name for name, _ in model.named_parameters() if name.endswith(("fc.weight", "classifier.weight")))).mul_(40)


def set_json(path, **values):
    """Change values of a JSON file; None removes one."""
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


def face_like(side, seed=0):
    """A smooth RGB image."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 6, 6)))
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 255)
    return np.ascontiguousarray(smooth[0].permute(1, 2, 0).numpy().astype(np.uint8))
