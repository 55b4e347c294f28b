"""Availability of the pretrained weights: checked before any machine is started, without a download.

YuNet's weights are checked elsewhere; they are small enough to be read completely.
"""

from dataclasses import replace
from pathlib import Path

from abaw_ray.core.errors import ConfigError, StorageError
from abaw_ray.core.storage.filesystems import StorageConfig, is_remote
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.config import ModelConfig
from abaw_ray.features.config import RANDOM, SpeechConfig

_HUB_TIMEOUT_S = 5.0
"""Seconds until a request to the model hub is given up; ours."""


def check_encoder(config: ModelConfig, storage: StorageConfig) -> None:
    """Check that timm has the encoder's architecture and that its initial weights exist.

    Raises:
        ConfigError: the architecture or the weights do not exist.
        StorageError: the store of the weights cannot be reached.
    """
    from abaw_ray.encoder.model import check_architecture

    check_architecture(config)
    if config.weights == "hub":
        from timm.models import get_pretrained_cfg

        pretrained = get_pretrained_cfg(config.name)
        if pretrained is None or not pretrained.hf_hub_id:
            raise ConfigError(f"model.weights=hub: timm has no weights of {config.name}; give a path, or '' for random weights")
        _check_hub(pretrained.hf_hub_id, "model.safetensors", "model.weights=hub")
    elif config.weights:
        folder, slash, name = config.weights.rpartition("/")
        _check_store(folder or slash or ".", name, storage, f"model.weights={config.weights}")


def check_speech(config: SpeechConfig, storage: StorageConfig) -> None:
    """Check that the speech model exists; errors as ``check_encoder``."""
    weights = config.weights
    if is_remote(weights) or Path(weights.removeprefix("file://")).is_dir():
        _check_store(weights, "config.json", storage, f"features.speech.weights={weights}")
    elif weights != RANDOM:
        _check_hub(weights, "config.json", f"features.speech.weights={weights}")


def _check_store(folder: str, name: str, storage: StorageConfig, setting: str) -> None:
    try:
        exists = Storage(replace(storage, uri=folder)).exists(name)
    except StorageError as error:
        raise StorageError(f"{setting}: {error}") from error
    if not exists:
        raise ConfigError(f"{setting}: there is no {name}; check the path, relative ones begin at the working folder")


def _check_hub(repository: str, name: str, setting: str) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(repository, name), str):
        return
    try:
        get_hf_file_metadata(hf_hub_url(repository, name), timeout=_HUB_TIMEOUT_S)
    except Exception as error:  # errors of the client and of its dependencies have no other common base class
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ConfigError(f"{setting}: the model hub does not give {repository} ({reason}); give the path or URI of the weights") from error
