"""Where the speech model comes from, whether it exists, and what identifies its content; without loading it or a numerical library."""

import json
from contextlib import suppress

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.file_digest import file_sha256
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.core.storage.weights import WeightsSource
from abaw_ray.features.config import WAV2VEC_HUB, Layer, SpeechConfig

CONFIG_FILE = "config.json"
REMEDY = "set features.speech.weights to the path or URI of a folder with a Wav2Vec 2.0 model as transformers saves it, or to random"
_FILES = (CONFIG_FILE, "preprocessor_config.json", "model.safetensors", "pytorch_model.bin")
_DEFAULT_LAYERS = 12
"""Number of blocks of a model whose ``config.json`` does not state it: transformers' default, the one of Wav2Vec 2.0 base."""


def weights_source(config: SpeechConfig, storage: StorageConfig | None = None) -> WeightsSource:
    """Where the speech model comes from; ``storage`` has the settings of object stores, for a URI."""
    return WeightsSource(
        setting="features.speech.weights", value=config.weights, repository=WAV2VEC_HUB, remedy=REMEDY, storage=storage or StorageConfig()
    )


def check_layer(layer: Layer, layers: int) -> None:
    """Check that a model with this number of blocks has these hidden states.

    Raises:
        ConfigError: it has not, or one layer is given twice, as ``12`` and ``-1``.
    """
    if layer == "mean":
        return
    given = (layer,) if isinstance(layer, int) else layer
    if not all(-layers - 1 <= index <= layers for index in given):
        raise ConfigError(f"speech.layer={layer}: the model has layers 0 to {layers}, or mean")
    if len({index % (layers + 1) for index in given}) < len(given):
        raise ConfigError(f"speech.layer={layer}: names a layer twice; the model has layers 0 to {layers}, of which -1 is the last one")


def check_weights(config: SpeechConfig, storage: StorageConfig) -> None:
    """Check that the speech model exists and has the chosen layers, without a download: the layers of one on the model hub are checked on loading.

    Raises:
        ConfigError: it does not exist, it has no such layer, or the model hub does not respond.
        StorageError: the object store cannot be read.
    """
    source = weights_source(config, storage)
    source.check(CONFIG_FILE)
    if source.is_random:
        check_layer(config.layer, config.random.num_hidden_layers)
    elif not source.hub_repository:
        with source.store.local_copy(CONFIG_FILE) as path, suppress(ValueError):  # a damaged file is refused on loading
            layers = json.loads(path.read_text()).get("num_hidden_layers")
            check_layer(config.layer, layers if isinstance(layers, int) else _DEFAULT_LAYERS)


def weights_identity(source: WeightsSource) -> str:
    """A digest of the weights' content, for the address of a stage's results: other files in the same folder give other features.

    The name of a repository on the model hub and ``random`` are returned as they are.

    Raises:
        ConfigError: there is no such folder, or it does not hold a model.
        StorageError: the object store could not be read after all retries.
    """
    if source.is_random or source.hub_repository:
        return source.hub_repository or source.value
    source.check(CONFIG_FILE)
    files = [name for name in source.store.files("") if name in _FILES or name.startswith(("model-", "pytorch_model-"))]
    return digest([[name, _hash(source.store, name)] for name in files])


def _hash(storage: Storage, name: str) -> str:
    with storage.local_copy(name) as path:
        return file_sha256(path)
