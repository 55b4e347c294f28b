"""``encoder.path`` -> an encoder that was trained before, in timm's format: its files, the identity of its content, and the size of its input.

The path names a folder with ``config.json`` and ``model.safetensors``, or a model bundle or an output of Stage I, which have it in ``encoder/``.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import timm

from abaw_ray.core.file_digest import file_sha256
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.weights import AbsentFileError, WeightsSource

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
_FOLDER = "encoder/"
_REMEDY = "give a folder with config.json and model.safetensors, a model bundle, or owner/name on the model hub; an empty value trains an encoder"


class SavedEncoder:
    """An encoder at a path, at a URI or on the model hub."""

    def __init__(self, path: str, storage: StorageConfig | None = None) -> None:
        """``storage`` has the settings of object stores, for a URI."""
        self.source = WeightsSource(setting="encoder.path", value=path, remedy=_REMEDY, storage=storage or StorageConfig())

    def check(self) -> None:
        """Check that it exists and that timm has its architecture; only its ``config.json`` is downloaded.

        Raises:
            ConfigError: it does not exist, it is not in timm's format, timm does not have its architecture, or the model hub does not respond.
            StorageError: the object store cannot be read.
        """
        self.source.check(f"{self._prefix()}{WEIGHTS_FILE}")
        architecture = self._config().get("architecture")
        if not isinstance(architecture, str) or not timm.is_model(architecture):
            raise self.source.error(f"its {CONFIG_FILE} names no architecture of timm ({architecture})")

    def img_size(self) -> int:
        """Side of its input in pixels.

        Raises:
            ConfigError: as ``check``; or ``config.json`` does not state the size.
            StorageError: the object store cannot be read.
        """
        body = self._config()
        pretrained = body.get("pretrained_cfg") or body
        size = (body.get("model_args") or {}).get("img_size") or (pretrained.get("input_size") or [None])[-1]
        if not isinstance(size, int):
            raise self.source.error(f"its {CONFIG_FILE} does not state one size of the input in pixels")
        return size

    def timm_arguments(self) -> tuple[str, dict[str, Any]]:
        """Name of its architecture in timm, and arguments of ``timm.create_model`` for it, without a classifier.

        Raises:
            ConfigError: as ``check``.
            StorageError: the object store cannot be read.
        """
        body = self._config()
        return str(body.get("architecture")), {"img_size": self.img_size(), **(body.get("model_args") or {}), "num_classes": 0}

    def identity(self) -> str:
        """A digest of its content, for the address of a stage's results; of one on the model hub, the name of the repository.

        Raises:
            ConfigError: as ``check``.
            StorageError: the object store cannot be read.
        """
        if self.source.hub_repository:
            return self.source.hub_repository
        prefix = self._prefix()
        return digest([[name, self._sha256(f"{prefix}{name}")] for name in (CONFIG_FILE, WEIGHTS_FILE)])

    @contextmanager
    def local_folder(self) -> Iterator[Path]:
        """A local folder with its two files.

        Raises:
            ConfigError: as ``check``.
            StorageError: the object store cannot be read.
        """
        prefix = self._prefix()
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="abaw-encoder-")))
            for name in (CONFIG_FILE, WEIGHTS_FILE):
                local = stack.enter_context(self.source.local_file(f"{prefix}{name}"))
                (folder / name).symlink_to(local.resolve())  # weights of a gigabyte are not copied
            yield folder

    def _prefix(self) -> str:
        """Folder of the encoder below the path."""
        if self.source.is_random or self.source.value.endswith((".safetensors", ".json", ".bin", ".pt", ".pth")):
            raise self.source.error("is no folder")
        try:
            self.source.check(f"{_FOLDER}{CONFIG_FILE}")
            return _FOLDER
        except AbsentFileError:
            self.source.check(CONFIG_FILE)
            return ""

    def _config(self) -> dict[str, Any]:
        with self.source.local_file(f"{self._prefix()}{CONFIG_FILE}") as path:
            try:
                body = json.loads(path.read_text())
            except ValueError as error:
                raise self.source.error(f"its {CONFIG_FILE} is no JSON ({error})") from error
        if not isinstance(body, dict):
            raise self.source.error(f"its {CONFIG_FILE} is no JSON object")
        return body

    def _sha256(self, name: str) -> str:
        with self.source.local_file(name) as path:
            return file_sha256(path)
