"""Sources of pretrained weights.

The settings ``weights`` of the face detector, the face embedder, the encoder and the speech model share one vocabulary:

* a local path, or a URI that pyarrow understands, of the file or folder;
* ``owner/name``: a repository on the model hub;
* ``hub``: the model's own repository there;
* ``random``: random weights, where the model can be built with them.

An existing local path is never taken for a repository. A download is kept in the cache of the hub's client.
"""

import re
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from abaw_ray.core.errors import ConfigError, StorageError
from abaw_ray.core.storage.filesystems import StorageConfig, is_remote
from abaw_ray.core.storage.folders import download_folder
from abaw_ray.core.storage.storage import Storage

HUB = "hub"
RANDOM = "random"
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_FILE_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".onnx")
"""Endings of files of weights; a missing ``models/vit.pt`` is a wrong path and no repository."""
_HUB_TIMEOUT_S = 5.0
"""Seconds for the hub's first response. The client alone retries for half a minute, or for six where packets are lost. Default ours."""


class AbsentFileError(ConfigError):
    """The folder or repository exists, and has no such file."""


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """One value of a setting ``weights``."""

    setting: str
    """Name of the setting, for messages."""
    value: str
    """The value, in the vocabulary above."""
    repository: str = ""
    """The model's own repository on the hub; empty where there is none."""
    remedy: str = "give the path or URI of the weights"
    """End of every message: what to do."""
    storage: StorageConfig = field(default_factory=StorageConfig)
    """Settings of object stores; its ``uri`` is not used."""

    @property
    def is_random(self) -> bool:
        """Whether the model gets random weights."""
        return self.value == RANDOM

    @property
    def is_local(self) -> bool:
        """Whether the value is a local path, existing or not."""
        return not (is_remote(self.value) or self.is_random or self.hub_repository)

    @property
    def hub_repository(self) -> str:
        """The repository on the model hub, or empty for another source.

        Raises:
            ConfigError: the value is ``hub``, and the model has no repository of its own.
        """
        if self.value == HUB:
            if not self.repository:
                raise self.error("the model hub has no weights of this model")
            return self.repository
        is_path = is_remote(self.value) or self.value.endswith(_FILE_SUFFIXES) or self._path.exists()
        return self.value if _REPOSITORY.fullmatch(self.value) and not is_path else ""

    def error(self, reason: str) -> ConfigError:
        """A ``ConfigError`` that names the setting, its value, the reason and the remedy."""
        return ConfigError(f"{self.setting}={self.value}: {reason}; {self.remedy}")

    @property
    def store(self) -> Storage:
        """The folder that the value names, where it is a path or URI of a folder."""
        return self._store(self.value)

    def check(self, *names: str) -> None:
        """Check that the weights exist, without a download.

        Args:
            names: Alternative names of the file of weights in a folder or repository.

        Raises:
            ConfigError: they do not exist, or the hub does not respond within seconds.
            StorageError: the object store cannot be read.
        """
        if repository := self.hub_repository:
            if cached_file(repository, names) is None:
                self._find_on_hub(repository, names)
        elif not self.is_random:
            self._find_in_store(names)

    @contextmanager
    def local_file(self, *names: str) -> Iterator[Path]:
        """A local file with the weights: the file itself, a file in the cache of the hub's client, or a temporary copy.

        Args:
            names: As for ``check``.

        Raises:
            ConfigError: it does not exist, cannot be read, or the hub does not respond within seconds.
            StorageError: the object store cannot be read.
        """
        if repository := self.hub_repository:
            yield self._download(repository, names)
            return
        store, path = self._find_in_store(names)
        with store.local_copy(path) as local:
            yield local

    @contextmanager
    def local_folder(self, *names: str) -> Iterator[str]:
        """A local folder with the model, or the name of its repository: an argument for ``from_pretrained`` of transformers.

        Args:
            names: Alternative names of a file that every such model has.

        Raises:
            ConfigError: it does not exist, or the hub does not respond within seconds.
            StorageError: the object store cannot be read.
        """
        self.check(*names)
        if not is_remote(self.value):
            yield self.hub_repository or self._path.as_posix()
            return
        with tempfile.TemporaryDirectory(prefix="abaw-weights-") as folder:
            download_folder(self.store, "", Path(folder), names=[name for name in self.store.files("") if name.endswith((".json", *_FILE_SUFFIXES))])
            yield folder

    @contextmanager
    def local_files(self, index: str, listed: Callable[[Path], Iterable[str]]) -> Iterator[Path]:
        """A local folder with the files that an index file lists: the folder itself, the cache of the hub's client, or a temporary copy.

        Args:
            index: Name of the index file in the folder.
            listed: Returns the paths of all other files, relative to the folder, from a local copy of the index file.

        Raises:
            ConfigError: there is no such folder, it lacks one of the files, or the hub does not respond within seconds.
            StorageError: the object store cannot be read.
        """
        if repository := self.hub_repository:
            path = self._download(repository, (index,))
            for name in listed(path):
                self._download(repository, (name,), revision=path.parent.name)
            yield path.parent
            return
        store, path = self._find_in_store((index,))
        if path != index:
            raise self.error(f"is no folder with {index}")
        if not is_remote(self.value):
            yield self._path
            return
        with tempfile.TemporaryDirectory(prefix="abaw-weights-") as folder:
            local = Path(folder)
            store.get_file(index, local / index)
            try:
                download_folder(store, "", local, names=list(listed(local / index)))
            except FileNotFoundError as error:
                raise self.error(f"lacks a file that its {index} lists ({error})") from error
            yield local

    @property
    def _path(self) -> Path:
        return Path(self.value.removeprefix("file://")).expanduser()

    def _store(self, uri: str) -> Storage:
        return Storage(replace(self.storage, uri=uri if is_remote(uri) else str(Path(uri.removeprefix("file://")).expanduser())))

    def _find_in_store(self, names: tuple[str, ...]) -> tuple[Storage, str]:
        """The store and path of the file: the value itself, or one of the names in it."""
        parent, _, file = self.value.rstrip("/").rpartition("/")
        candidates = [(self.store, name) for name in names]
        if not parent.endswith(":/"):  # else the value is a whole bucket
            candidates.insert(0, (self._store(parent or ("/" if self.value.startswith("/") else ".")), file))
        try:
            for store, path in candidates:
                if store.is_file(path):
                    return store, path
            is_folder = self.store.exists("")
        except StorageError as error:
            raise StorageError(f"{self.setting}={self.value}: {error}") from error
        if is_folder:
            raise AbsentFileError(str(self.error(f"is a folder without {' or '.join(names)}")))
        raise self.error("there is no such file or folder")

    def _find_on_hub(self, repository: str, names: tuple[str, ...]) -> str:
        """Name of the first of these files that the repository has.

        A short request with a timeout: the client alone retries many times where there is no network.
        """
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.errors import EntryNotFoundError

        for name in names:
            try:
                get_hf_file_metadata(hf_hub_url(repository, name), timeout=_HUB_TIMEOUT_S)
            except EntryNotFoundError:
                continue
            except Exception as error:  # errors of the client, and of the packages below it, have no other common base class
                raise self._unavailable(repository, error) from error
            return name
        raise AbsentFileError(str(self.error(f"the repository {repository} on the model hub has no {' or '.join(names)}")))

    def _download(self, repository: str, names: tuple[str, ...], revision: str | None = None) -> Path:
        """Path of the file in the cache of the hub's client, where it is downloaded to if need be."""
        from huggingface_hub import hf_hub_download

        if cached := cached_file(repository, names, revision):
            return cached
        name = self._find_on_hub(repository, names)
        try:
            return Path(hf_hub_download(repository, name, revision=revision, etag_timeout=_HUB_TIMEOUT_S))
        except Exception as error:  # as above
            raise self._unavailable(repository, error) from error

    def _unavailable(self, repository: str, error: Exception) -> ConfigError:
        from huggingface_hub.errors import OfflineModeIsEnabled

        if isinstance(error, OfflineModeIsEnabled):
            reason = "HF_HUB_OFFLINE forbids requests, and the cache of the model hub's client does not have it"
        else:
            reason = textwrap.shorten(str(error) or type(error).__name__, 120, placeholder=" ...")
        name = "no local path, and " if self.value == repository else f"{repository} "
        return self.error(f"{name}not available from the model hub ({reason})")


def cached_file(repository: str, names: tuple[str, ...], revision: str | None = None) -> Path | None:
    """Path of the first of these files that is in the cache of the hub's client, without network access; None where there is none."""
    from huggingface_hub import try_to_load_from_cache

    paths = (try_to_load_from_cache(repository, name, revision=revision) for name in names)
    return next((Path(path) for path in paths if isinstance(path, str)), None)
