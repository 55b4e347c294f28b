"""Stage I's classification head as files beside its encoder: ``head.safetensors`` and ``head.json``. timm and model bundles ignore them."""

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.settings import from_plain, to_plain
from abaw_ray.encoder.config import MoeConfig
from abaw_ray.encoder.moe import MoeHead

HEAD_WEIGHTS_FILE, HEAD_CONFIG_FILE = "head.safetensors", "head.json"


def save_head(folder: Path, head: MoeHead, classes: tuple[str, ...]) -> None:
    """Write the weights (float32), the sizes and the names of the classes into a folder."""
    weights = {name: value.detach().float().cpu().contiguous() for name, value in head.state_dict().items()}
    save_file(weights, folder / HEAD_WEIGHTS_FILE, metadata={"format": "pt"})
    body = {"classes": list(classes), "dim": head.router.in_features, "moe": to_plain(head.config)}
    (folder / HEAD_CONFIG_FILE).write_text(json.dumps(body, indent=1))


def load_head(folder: Path) -> tuple[MoeHead, tuple[str, ...]]:
    """The head of a folder, in evaluation mode, and the names of its classes.

    Raises:
        DataError: the folder has no head, or it is not complete.
    """
    missing = [name for name in (HEAD_CONFIG_FILE, HEAD_WEIGHTS_FILE) if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder}: holds no {missing[0]}, the head of Stage I; train the encoder again, or set features.visual.logits to false")
    try:
        body = json.loads((folder / HEAD_CONFIG_FILE).read_text())
        head = MoeHead(body["dim"], len(body["classes"]), from_plain(MoeConfig, body["moe"], "moe"))
        head.load_state_dict(load_file(folder / HEAD_WEIGHTS_FILE))
        return head.eval(), tuple(body["classes"])
    except (KeyError, TypeError, ValueError, RuntimeError, OSError, SafetensorError, ConfigError) as error:
        raise DataError(f"{folder}: holds no complete head of Stage I: {' '.join(str(error).split())[:200]}") from error
