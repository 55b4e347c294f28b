"""Saves and loads encoders as a folder in timm's own format: ``model.safetensors`` with timm's parameter names, and ``config.json``.

The folder can be used without this package: ``timm.create_model("local-dir:FOLDER", pretrained=True)``.
"""

import json
from pathlib import Path
from typing import Any

import timm
from safetensors import SafetensorError
from safetensors.torch import save_file

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.encoder.config import Pool
from abaw_ray.encoder.model import Encoder
from abaw_ray.encoder.vit.preprocessing import Preprocessing
from abaw_ray.encoder.vit.saved_encoder import CONFIG_FILE, WEIGHTS_FILE


def save_encoder(folder: Path, encoder: Encoder) -> None:
    """Write ``model.safetensors`` (float32) and ``config.json`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().float().cpu().contiguous() for name, value in encoder.vit.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    (folder / CONFIG_FILE).write_text(json.dumps(timm_config(encoder), indent=1))


def timm_config(encoder: Encoder) -> dict[str, Any]:
    """The content of ``config.json``, with the keys that timm reads: the architecture, its arguments, and the preprocessing of pixels.

    ``pool`` is this package's. Where it is ``cls_mean``, timm's model returns its own pooled vector; the encoder's is made from the tokens of
    ``forward_features``.
    """
    pretrained, preprocessing, size = encoder.vit.pretrained_cfg, encoder.preprocessing, encoder.img_size
    architecture, _, tag = encoder.name.partition(".")
    return {
        "architecture": architecture,
        "num_classes": 0,
        "num_features": int(encoder.vit.num_features),
        "global_pool": encoder.vit.global_pool,
        "pool": encoder.pool,
        "model_args": {name: value for name, value in encoder.model_args.items() if name != "num_classes"},
        "pretrained_cfg": {
            "tag": tag,
            "custom_load": False,
            "input_size": [3, size, size],
            "fixed_input_size": True,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
            "num_classes": 0,
            "pool_size": None,
            "first_conv": pretrained["first_conv"],
            "classifier": pretrained["classifier"],
        },
    }


def load_encoder(folder: Path, *, pool: Pool = "own", name: str = "") -> Encoder:
    """A saved encoder, in evaluation mode: one of ``save_encoder``, or any plain vision Transformer in timm's format; a classifier is left out.

    Args:
        folder: The folder.
        pool: The vector, for a folder that does not say it, because it was not saved by this package.
        name: Name of the encoder in messages; empty for the folder.

    Raises:
        DataError: the folder does not hold a saved encoder.
    """
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / file).is_file():
            raise DataError(f"{name or folder}: holds no {file}; give the folder that the encoder's training wrote")
    try:
        body = json.loads((folder / CONFIG_FILE).read_text())
        vit: Any = timm.create_model(f"local-dir:{folder}", pretrained=True, pretrained_cfg_overlay={"custom_load": False})
        vit.reset_classifier(0)
        pretrained = vit.pretrained_cfg
        architecture = ".".join(filter(None, (body["architecture"], pretrained.get("tag"))))
        preprocessing = Preprocessing(img_size=vit.patch_embed.img_size[0], mean=tuple(pretrained["mean"]), std=tuple(pretrained["std"]))
        model_args = {**body.get("model_args", {}), "img_size": preprocessing.img_size}
        return Encoder(vit, preprocessing, pool=body.get("pool", pool), name=architecture, model_args=model_args).eval()
    except (AttributeError, AssertionError, KeyError, OSError, TypeError, ValueError, RuntimeError, SafetensorError, ConfigError) as error:
        raise DataError(f"{name or folder}: is not a complete saved encoder: {' '.join(str(error).split())[:200]}") from error
