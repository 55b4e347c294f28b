"""Saves and loads encoders as a folder in timm's own format: ``model.safetensors`` with timm's parameter names, and ``config.json``.

The folder can be used without this package: ``timm.create_model("local-dir:FOLDER", pretrained=True)``.
"""

import json
from pathlib import Path
from typing import Any

import timm
from safetensors.torch import load_file, save_file

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.storage.weights import RANDOM
from abaw_ray.encoder.config import ModelConfig
from abaw_ray.encoder.model import Encoder

WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"


def save_encoder(folder: Path, encoder: Encoder) -> None:
    """Write ``model.safetensors`` (float32) and ``config.json`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().float().cpu().contiguous() for name, value in encoder.vit.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    (folder / CONFIG_FILE).write_text(json.dumps(timm_config(encoder), indent=1))


def timm_config(encoder: Encoder) -> dict[str, Any]:
    """The content of ``config.json``, with the keys that timm reads: the architecture, its arguments, and the preprocessing of pixels."""
    config, pretrained = encoder.config, encoder.vit.pretrained_cfg
    arguments = config.timm_arguments()
    return {
        "architecture": config.name.partition(".")[0],
        "num_classes": 0,
        "num_features": encoder.dim,
        "global_pool": encoder.vit.global_pool,
        "model_args": {name: value for name, value in arguments.items() if name != "num_classes"},
        "pretrained_cfg": {
            "tag": config.name.partition(".")[2],
            "custom_load": False,
            "input_size": [3, config.img_size, config.img_size],
            "fixed_input_size": True,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": list(config.mean),
            "std": list(config.std),
            "num_classes": 0,
            "pool_size": None,
            "first_conv": pretrained["first_conv"],
            "classifier": pretrained["classifier"],
        },
    }


def load_encoder(folder: Path) -> Encoder:
    """A saved encoder, in evaluation mode.

    Raises:
        DataError: the folder does not hold a saved encoder.
    """
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise DataError(f"{folder}: holds no {name}; give the folder that the encoder's training wrote")
    try:
        body = json.loads((folder / CONFIG_FILE).read_text())
        arguments = body["model_args"]
        config = ModelConfig(
            name=".".join(filter(None, (body["architecture"], body["pretrained_cfg"]["tag"]))),
            img_size=arguments["img_size"],
            embed_dim=arguments.get("embed_dim"),
            depth=arguments.get("depth"),
            num_heads=arguments.get("num_heads"),
            init_values=arguments.get("init_values"),
            weights=RANDOM,
            mean=tuple(body["pretrained_cfg"]["mean"]),
            std=tuple(body["pretrained_cfg"]["std"]),
        )
        vit = timm.create_model(body["architecture"], pretrained=False, **config.timm_arguments())
        vit.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (KeyError, TypeError, ValueError, RuntimeError, ConfigError) as error:
        raise DataError(f"{folder}: is not a complete saved encoder: {' '.join(str(error).split())[:200]}") from error
    return Encoder(vit, config).eval()
