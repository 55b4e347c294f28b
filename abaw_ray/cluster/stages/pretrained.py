"""Are the pretrained weights where a job says? Asked before anything is paid for; nothing is fetched. YuNet's are read whole, they are small."""

from dataclasses import replace
from pathlib import Path

from abaw_ray.core.errors import ConfigError, StorageError
from abaw_ray.core.storage.filesystems import StorageConfig, is_remote
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.model import ModelConfig
from abaw_ray.features.speech import SpeechConfig
from abaw_ray.features.wav2vec import RANDOM

_PATIENCE = 5.0
"""Seconds that the model hub has to answer; ours."""


def check_encoder(config: ModelConfig, storage: StorageConfig) -> None:
    """See that the encoder's first weights can be had.

    Raises:
        ConfigError: they cannot.
        StorageError: the store that should have them cannot be reached.
    """
    if config.weights == "hub":
        from timm.models import get_pretrained_cfg

        found = get_pretrained_cfg(config.name)
        if found is None or not found.hf_hub_id:
            raise ConfigError(f"model.weights=hub: timm knows no weights of {config.name}; give a path, or '' for random weights")
        _on_hub(found.hf_hub_id, "model.safetensors", "model.weights=hub")
    elif config.weights:
        folder, slash, name = config.weights.rpartition("/")
        _in_store(folder or slash or ".", name, storage, f"model.weights={config.weights}")


def check_speech(config: SpeechConfig, storage: StorageConfig) -> None:
    """See that the speech model can be had; errors as ``check_encoder``."""
    where = config.weights
    if is_remote(where) or Path(where.removeprefix("file://")).is_dir():
        _in_store(where, "config.json", storage, f"features.speech.weights={where}")
    elif where != RANDOM:
        _on_hub(where, "config.json", f"features.speech.weights={where}")


def _in_store(folder: str, name: str, storage: StorageConfig, said: str) -> None:
    try:
        there = Storage(replace(storage, uri=folder)).exists(name)
    except StorageError as error:
        raise StorageError(f"{said}: {error}") from error
    if not there:
        raise ConfigError(f"{said}: there is no {name}; check the path, relative ones begin at the working folder")


def _on_hub(repository: str, name: str, said: str) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(repository, name), str):
        return
    try:
        get_hf_file_metadata(hf_hub_url(repository, name), timeout=_PATIENCE)
    except Exception as error:  # the client's errors, and those of what it is built on, have no other base in common
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ConfigError(f"{said}: the model hub does not give {repository} ({reason}); give the path or URI of the weights") from error
