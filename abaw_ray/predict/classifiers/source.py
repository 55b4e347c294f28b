"""A public checkpoint -> a local folder with its ``config.json`` and ``model.safetensors``. Nothing that could run code is read."""

import json
import pickle
import shutil
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from huggingface_hub import ModelCard, ModelCardData
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from timm.models import clean_state_dict

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.weights import AbsentFileError, WeightsSource

CONFIG_FILE, WEIGHTS_FILE, PREPROCESSOR_FILE = "config.json", "model.safetensors", "preprocessor_config.json"
_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_NAMES = (WEIGHTS_FILE, "pytorch_model.bin", "model.pt", "model.pth")
"""Names of the file of weights in a folder or repository, in the order in which they are looked for."""
_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts save the weights."""
_TRANSFORMERS_DEFAULT = 2
"""Number of classes where ``config.json`` of transformers states none."""
_REMEDY = "give the folder, URI or repository (owner/name) of an image classifier as timm or transformers saves it: config.json and the weights"


@dataclass(frozen=True, kw_only=True)
class CheckpointFiles:
    """What was copied into the folder."""

    config: dict[str, Any]
    """The content of ``config.json``."""
    preprocessor: dict[str, Any] | None
    """The content of ``preprocessor_config.json``; None where there is none."""
    card: ModelCardData = field(default_factory=ModelCardData)
    """Front matter of the model card; empty where there is none."""


def copy_checkpoint(source: str, folder: Path, storage: StorageConfig | None = None) -> CheckpointFiles:
    """Copy a checkpoint into an empty local folder; weights of PyTorch files become safetensors.

    Args:
        source: A local folder or file, a URI, or ``owner/name`` on the model hub. A file needs ``config.json`` beside it.
        folder: The folder.
        storage: Settings of object stores.

    Raises:
        ConfigError: there is no such source, or it lacks a file.
        DataError: a file is damaged, or is a pickled model.
        StorageError: the store cannot be read.
    """
    weights = WeightsSource(setting="models import", value=source, remedy=_REMEDY, storage=storage or StorageConfig())
    names, parent = _NAMES, weights
    if source.endswith(_SUFFIXES):
        names = (source.rstrip("/").rpartition("/")[2],)
        weights.check(*names)  # else the name of a missing folder could be taken for a repository
        parent = WeightsSource(setting="models import", value=_parent(source), remedy=_REMEDY, storage=weights.storage)
    with weights.local_file(*names) as path:
        _write_safetensors(path, folder / WEIGHTS_FILE, source)
    with parent.local_file(CONFIG_FILE) as path:
        shutil.copyfile(path, folder / CONFIG_FILE)
    has_preprocessor = _copy_optional(parent, PREPROCESSOR_FILE, folder)
    has_card = _copy_optional(parent, "README.md", folder)
    files = CheckpointFiles(
        config=_read_json(folder / CONFIG_FILE, source),
        preprocessor=_read_json(folder / PREPROCESSOR_FILE, source) if has_preprocessor else None,
        card=_read_card(folder / "README.md") if has_card else ModelCardData(),
    )
    (folder / "README.md").unlink(missing_ok=True)
    return files


def _parent(source: str) -> str:
    parent = source.rstrip("/").rpartition("/")[0]
    return parent or ("/" if source.startswith("/") else ".")


def _copy_optional(source: WeightsSource, name: str, folder: Path) -> bool:
    try:
        with source.local_file(name) as path:
            shutil.copyfile(path, folder / name)
    except AbsentFileError:
        return False
    return True


def _read_json(path: Path, source: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{source}: its {path.name} is damaged ({error}); copy it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{source}: its {path.name} has no settings; {_REMEDY}")
    return content


def _read_card(path: Path) -> ModelCardData:
    """The front matter; empty where there is none, or it is not YAML: then the license is not known."""
    try:
        data = ModelCard(path.read_text(encoding="utf-8"), ignore_metadata_errors=True).data
    except (ValueError, TypeError, yaml.YAMLError):
        return ModelCardData()
    return data if isinstance(data, ModelCardData) else ModelCardData()


def _write_safetensors(path: Path, target: Path, source: str) -> None:
    """Write the weights as safetensors; tensors that share memory are written separately."""
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt"):
                pass
        except SafetensorError as error:
            raise DataError(f"{source}: {path.name} is damaged ({error}); copy it again") from error
        shutil.copyfile(path, target)
        return
    weights = _state_dict(_load(path, source), path, source)
    save_file({name: value.detach().clone().contiguous() for name, value in weights.items()}, target, metadata={"format": "pt"})


def _load(path: Path, source: str) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # about TorchScript, which is refused here
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{source}: {path.name} is a pickled Python object and not a table of tensors; reading it could run code, so it is refused: "
            "save its state_dict() with safetensors, beside the config.json that names its architecture"
        ) from error
    except (RuntimeError, EOFError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"{source}: {path.name} is no table of tensors ({reason}); save the model's state_dict() with safetensors") from error


def _state_dict(loaded: Any, path: Path, source: str) -> dict[str, torch.Tensor]:
    for key in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not loaded or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise DataError(f"{source}: {path.name} holds no table of tensors; save the model's state_dict() with safetensors")
    return clean_state_dict(loaded)


def class_names(config: dict[str, Any], source: str) -> tuple[str, ...]:
    """Names of the classes in ``config.json``; numbers where it has none.

    Raises:
        ConfigError: it does not state how many classes there are.
    """
    nested = config.get("pretrained_cfg") or {}
    named = config.get("id2label") or config.get("label_names") or nested.get("label_names") or ()
    if isinstance(named, dict):
        if not all(str(key).isdigit() for key in named):
            raise ConfigError(f"{source}: the names of classes in its {CONFIG_FILE} have no numbers; correct the file")
        named = [named[key] for key in sorted(named, key=int)]
    count = config.get("num_classes") or nested.get("num_classes") or len(named) or _TRANSFORMERS_DEFAULT
    if named and len(named) != count:
        raise ConfigError(f"{source}: its {CONFIG_FILE} has {len(named)} names for {count} classes; correct the file")
    return tuple(map(str, named)) or tuple(map(str, range(count)))
