"""A folder, a pattern, a text, CSV or Parquet list, or one file, local or in an object store -> ``VIDEO`` rows.

No file is opened, so a file that is not a video becomes a ``FAILURE`` row in a later stage. ``subjects`` is empty: ``faces/`` finds the subjects.
"""

import os
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from abaw_ray.core.errors import DataError
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.filesystems import StorageConfig, is_remote
from abaw_ray.data.lists import LIST_SUFFIXES, ListedVideo, read_list
from abaw_ray.data.trees import Entry, Tree, open_file

SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".m2ts", ".3gp", ".ogv")
"""Suffixes of videos in a folder, in any letter case; patterns and lists may name other files."""


IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
"""Suffixes of still images (``media/still.py``), in any letter case; of an animated one only the first image counts."""


def is_image(name: str) -> bool:
    """Whether a file is a still image, by the suffix of its name, path or URI."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def file_identity(uri: str, entry: Entry) -> str:
    """Digest of URI, size and modification time: a replaced file has another identity."""
    return digest([uri, entry.size, entry.modified_ns])


def identity_of(uri: str | Path, storage: StorageConfig | None = None) -> str:
    """The identity of one file.

    Raises:
        DataError: the file does not exist.
        StorageError: the store cannot be reached.
    """
    tree, name = open_file(uri, storage)
    entry = tree.stat([name])[0]
    if entry is None or entry.is_folder:
        raise DataError(f"{tree.uri(name)}: no such file; check the path")
    return file_identity(tree.uri(name), entry)


def list_videos(where: str | Path, storage: StorageConfig | None = None, *, suffixes: tuple[str, ...] = SUFFIXES) -> list[dict]:
    """``VIDEO`` rows of the given videos, sorted by name.

    Args:
        where: A folder (searched recursively for ``suffixes``; hidden files are ignored), a pattern with ``*``, ``?``, ``[..]`` or ``**``, a
            ``.txt`` list (one path or URI per line; ``#`` begins a comment), a ``.csv`` or ``.parquet`` list (column ``uri`` or ``path``, and
            optionally ``video`` for the names), or one video file. Paths in a list may be relative to it.
        storage: Access to an object store; only endpoint and region are used.
        suffixes: Of the files that are taken from a folder; ``(*SUFFIXES, *IMAGE_SUFFIXES)`` for images too: each image is one row.

    Returns:
        Rows of ``schema.VIDEO``. ``video`` is the path below the folder, below the pattern's fixed part, or as written in the list;
        an absolute path or URI in a list keeps everything but the scheme, so that its name does not depend on the rest of the list.

    Raises:
        DataError: no video is found, a listed file is missing, or two rows have the same name.
        StorageError: the store cannot be reached.
    """
    if not _is_utf8(str(where)):
        raise DataError(f"{os.fsencode(where)!r}: the name is not UTF-8; rename the file")
    tree, name = open_file(where, storage)
    entry = tree.stat([name])[0] if name else None
    if not name or (entry and entry.is_folder):
        rows = _from_folder(Tree(where, storage), suffixes)
    elif entry and entry.name.lower().endswith(LIST_SUFFIXES):
        rows = _from_list(tree, entry.path)
    elif entry:
        rows = [_row(entry.name, tree, entry)]
    elif any(sign in str(where) for sign in "*?["):
        if not (rows := _from_pattern(str(where), storage)):
            raise DataError(f"{where}: no file matches this pattern; check it, and quote it so that the shell does not change it")
    else:
        raise DataError(f"{where}: no such file or folder; pass a folder, a pattern, a .txt, .csv or .parquet list, or one video")
    if not rows:
        raise DataError(f"{where}: no video found; videos end in {' '.join(suffixes[:5])} ...")
    duplicates = [video for video, count in Counter(row["video"] for row in rows).items() if count > 1]
    if duplicates:
        raise DataError(f"{where}: '{duplicates[0]}' occurs twice{_and_others(len(duplicates) - 1)}; list every video once")
    return sorted(rows, key=lambda row: row["video"])


def _and_others(count: int) -> str:
    return f", and {count:,} other {'name' if count == 1 else 'names'}" if count else ""


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # Python keeps other bytes of a command line as surrogates
        return False
    return True


def _row(video: str, tree: Tree, entry: Entry) -> dict:
    uri = tree.uri(entry.path)
    return {"video": video, "uri": uri, "identity": file_identity(uri, entry), "size": entry.size, "subjects": []}


def _from_folder(tree: Tree, suffixes: tuple[str, ...]) -> list[dict]:
    entries = [entry for entry in tree.entries(recursive=True) if not entry.is_folder and entry.name.lower().endswith(suffixes)]
    repeated = set() if is_remote(tree.root) else _links_to_listed_folders(tree, {entry.folder for entry in entries})
    return [_row(entry.path, tree, entry) for entry in entries if entry.folder not in repeated]


def _links_to_listed_folders(tree: Tree, folders: set[str]) -> set[str]:
    """Those folders that are others by another name: a link to a parent folder would repeat its files without end."""
    first: dict[str, str] = {}
    for folder in sorted(folders, key=lambda folder: (folder.count("/"), folder)):
        first.setdefault(os.path.realpath(tree.uri(folder)), folder)
    return folders - set(first.values())


def _from_pattern(pattern: str, storage: StorageConfig | None) -> list[dict]:
    parts = pattern.split("/")
    fixed = next(index for index, part in enumerate(parts) if any(sign in part for sign in "*?["))
    tree, components = Tree("/".join(parts[:fixed]) or ("/" if pattern.startswith("/") else "."), storage), parts[fixed:]
    entries = tree.entries(recursive=len(components) > 1 or "**" in components)
    return [_row(entry.path, tree, entry) for entry in entries if not entry.is_folder and _matches(entry.path.split("/"), components)]


def _matches(path: list[str], pattern: list[str]) -> bool:
    """Whether the path matches the pattern component by component; ``**`` matches any number of folders."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_matches(path[start:], pattern[1:] or ["*"]) for start in range(len(path)))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _matches(path[1:], pattern[1:])


def _from_list(tree: Tree, path: str) -> list[dict]:
    """Rows of a list; all files of one store are queried together, because a list may be long and name several stores."""
    listed: dict[str, list[tuple[ListedVideo, str]]] = {}
    for video in read_list(tree, path):
        root, below = _split(video.uri)
        listed.setdefault(root, []).append((video, below))
    rows = []
    for root, videos_below in listed.items():
        root_tree = Tree(root, tree.config) if root else tree
        for (video, below), entry in zip(videos_below, root_tree.stat(below for _, below in videos_below), strict=True):
            if entry is None or entry.is_folder:
                raise DataError(f"{video.where}: '{video.uri}' is not a file; paths must be absolute or relative to the list")
            rows.append(_row(video.video or f"{root.partition('://')[2]}/{below}".lstrip("/"), root_tree, entry))
    return rows


def _split(uri: str) -> tuple[str, str]:
    """Root of the store and the path below it: ``s3://bucket`` and ``a/b``, ``/`` and ``a/b``, or nothing and a path relative to the list."""
    if is_remote(uri):
        scheme, _, rest = uri.partition("://")
        bucket, _, path = rest.partition("/")
        return f"{scheme}://{bucket}", path
    path = str(PurePosixPath(uri.removeprefix("file://")))
    return ("/", path.lstrip("/")) if path.startswith("/") else ("", path)
