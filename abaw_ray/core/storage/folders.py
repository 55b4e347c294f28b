"""Transfers of whole folders to and from storage: each file atomically, several at a time where the storage is an object store."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from abaw_ray.core.storage.filesystems import is_remote
from abaw_ray.core.storage.storage import Storage

_PARALLEL_TRANSFERS = 16
"""Files that are transferred to or from an object store at the same time. Ours."""


def upload_folder(local: Path, storage: Storage, path: str, *, last: str = "") -> None:
    """Upload the files of a local folder and its subfolders.

    Args:
        local: The folder.
        storage: Where it goes.
        path: Its path there.
        last: Name of a file in it that is uploaded after all others: a marker that the folder is complete.
    """
    names = sorted(file.relative_to(local).as_posix() for file in local.rglob("*") if file.is_file())
    _transfer(storage, names, last, lambda name: storage.put_file(local / name, f"{path}/{name}".lstrip("/")))


def download_folder(storage: Storage, path: str, local: Path, *, names: Iterable[str] | None = None) -> None:
    """Download the files of a folder and its subfolders.

    Args:
        storage: Where it is.
        path: Its path there.
        local: Where its files go.
        names: The files to download, relative to ``path``; all where None.
    """
    names = storage.files(path, recursive=True) if names is None else names
    _transfer(storage, names, "", lambda name: storage.get_file(f"{path}/{name}".lstrip("/"), local / name))


def _transfer(storage: Storage, names: Iterable[str], last: str, copy: Callable[[str], None]) -> None:
    threads = _PARALLEL_TRANSFERS if is_remote(storage.config.uri) else 1
    with ThreadPoolExecutor(threads, thread_name_prefix="transfer") as pool:
        try:
            for transfer in [pool.submit(copy, name) for name in names if name != last]:
                transfer.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if last:
        copy(last)
