"""Any videos as ``VIDEO`` rows: a folder, a pattern, a text, CSV or Parquet list, or one file; on a local disk or in an object store.

Names and identities only: nothing is opened, so a file that is no video becomes a ``FAILURE`` row later. People are not named here
(``subjects`` is empty): they are found by ``faces/``.
"""

from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from abaw_ray.core.errors import DataError
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.filesystems import StorageConfig, is_remote
from abaw_ray.data.lists import LISTS, Listed, read_list
from abaw_ray.data.trees import Entry, Tree, open_file

SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".m2ts", ".3gp", ".ogv")
"""Files of a folder that count as videos, in any case; a pattern or a list may name others."""


def file_identity(uri: str, entry: Entry) -> str:
    """Digest of address, size and time of the last change: another file under the same name gets another one."""
    return digest([uri, entry.size, entry.changed])


def identity_of(uri: str | Path, storage: StorageConfig | None = None) -> str:
    """The identity of one file.

    Raises:
        DataError: there is no such file.
        StorageError: the store cannot be reached.
    """
    tree, name = open_file(uri, storage)
    entry = tree.look([name])[0]
    if entry is None or entry.folder:
        raise DataError(f"{tree.uri(name)}: no such file; check the path")
    return file_identity(tree.uri(name), entry)


def list_videos(where: str | Path, storage: StorageConfig | None = None) -> list[dict]:
    """``VIDEO`` rows of what the user points at, sorted by name.

    Args:
        where: A folder (searched to its last level for the usual suffixes; hidden files are left out), a pattern with ``*``, ``?``,
            ``[..]`` or ``**``, a ``.txt`` list (one address a line, ``#`` begins a comment), a ``.csv`` or ``.parquet`` list (column ``uri`` or
            ``path``, and ``video`` where the names shall be your own), or one video file. Addresses of a list may be relative to it.
        storage: Where an object store is; only its endpoint and region matter here.

    Returns:
        Rows of ``schema.VIDEO``. ``video`` is the path below the folder, below the pattern's fixed part, or as the list writes it;
        an absolute address in a list keeps all of it but the scheme, so that its name does not hang on the rest of the list.

    Raises:
        DataError: nothing is there, a listed file is missing, or two rows have the same name.
        StorageError: the store cannot be reached.
    """
    tree, name = open_file(where, storage)
    entry = tree.look([name])[0] if name else None
    if not name or (entry and entry.folder):
        rows = _of_folder(Tree(where, storage))
    elif entry and entry.name.lower().endswith(LISTS):
        rows = _of_list(tree, entry.path)
    elif entry:
        rows = [_row(entry.name, tree, entry)]
    elif any(sign in str(where) for sign in "*?["):
        rows = _of_pattern(str(where), storage)
    else:
        raise DataError(f"{where}: no such file or folder; give a folder, a pattern, a .txt, .csv or .parquet list, or one video")
    if not rows:
        raise DataError(f"{where}: no video there; videos end in {' '.join(SUFFIXES[:5])} ...")
    twice = [video for video, count in Counter(row["video"] for row in rows).items() if count > 1]
    if twice:
        raise DataError(f"{where}: {len(twice)} names stand for two videos each, first '{twice[0]}'; name every video once")
    return sorted(rows, key=lambda row: row["video"])


def _row(video: str, tree: Tree, entry: Entry) -> dict:
    uri = tree.uri(entry.path)
    return {"video": video, "uri": uri, "identity": file_identity(uri, entry), "size": entry.size, "subjects": []}


def _of_folder(tree: Tree) -> list[dict]:
    return [_row(entry.path, tree, entry) for entry in tree.entries(recursive=True) if entry.path.lower().endswith(SUFFIXES)]


def _of_pattern(pattern: str, storage: StorageConfig | None) -> list[dict]:
    parts = pattern.split("/")
    fixed = next(index for index, part in enumerate(parts) if any(sign in part for sign in "*?["))
    tree, wanted = Tree("/".join(parts[:fixed]) or ("/" if pattern.startswith("/") else "."), storage), parts[fixed:]
    entries = tree.entries(recursive=len(wanted) > 1 or "**" in wanted)
    return [_row(entry.path, tree, entry) for entry in entries if not entry.folder and _fits(entry.path.split("/"), wanted)]


def _fits(path: list[str], pattern: list[str]) -> bool:
    """Whether path and pattern agree part by part; ``**`` stands for any number of folders."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_fits(path[start:], pattern[1:] or ["*"]) for start in range(len(path)))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _fits(path[1:], pattern[1:])


def _of_list(tree: Tree, path: str) -> list[dict]:
    """All files of one store are looked at together: a list may be long, and may name several stores."""
    listed: dict[str, list[tuple[Listed, str]]] = {}
    for one in read_list(tree, path):
        root, below = _split(one.uri)
        listed.setdefault(root, []).append((one, below))
    rows = []
    for root, mine in listed.items():
        place = Tree(root, tree.config) if root else tree
        for (one, below), entry in zip(mine, place.look(below for _, below in mine), strict=True):
            if entry is None or entry.folder:
                raise DataError(f"{one.where}: '{one.uri}' is no file; addresses are absolute or relative to the list")
            rows.append(_row(one.video or f"{root.partition('://')[2]}/{below}".lstrip("/"), place, entry))
    return rows


def _split(uri: str) -> tuple[str, str]:
    """Root of the store and the path below it: ``s3://bucket`` and ``a/b``, ``/`` and ``a/b``, or nothing and a path relative to the list."""
    if is_remote(uri):
        scheme, _, rest = uri.partition("://")
        bucket, _, path = rest.partition("/")
        return f"{scheme}://{bucket}", path
    path = str(PurePosixPath(uri.removeprefix("file://")))
    return ("/", path.lstrip("/")) if path.startswith("/") else ("", path)
