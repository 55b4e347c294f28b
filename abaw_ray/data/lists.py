"""A list of videos as text, CSV or Parquet -> URI or path, name, and line of each entry.

``videos.py`` checks that the files exist.
"""

import csv
import io
from dataclasses import dataclass

import pyarrow as pa

from abaw_ray.core.errors import DataError
from abaw_ray.data.trees import Tree

LIST_SUFFIXES = (".txt", ".csv", ".parquet")
"""A file with one of these suffixes, in any letter case, is a list of videos."""
_LOCATION = ("uri", "path")
"""Columns that may hold the URI or path of a video; the first one present is used."""
_NAME = "video"


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """One entry of a list."""

    where: str
    """File and line, or row; for messages."""
    uri: str
    """Absolute, or relative to the list."""
    video: str
    """Its name; empty where the list has none."""


def read_list(tree: Tree, path: str) -> list[ListedVideo]:
    """Read a list by its suffix.

    A text list has one URI or path per line; lines that begin with ``#`` are comments. CSV and Parquet have a column ``uri`` or ``path`` and
    optionally ``video``; other columns are ignored.

    Raises:
        DataError: a column is missing, an entry has no URI or path, or the file cannot be parsed.
        StorageError: the store cannot be reached.
    """
    suffix, where = path.lower().rpartition(".")[2], tree.uri(path)
    read = {"csv": _from_csv, "parquet": _from_parquet}.get(suffix, _from_text)
    listed = read(tree, path, where)
    empty = next((one for one in listed if not one.uri), None)
    if empty:
        raise DataError(f"{empty.where}: no URI or path; fill it in or remove the entry")
    return listed


def _from_text(tree: Tree, path: str, where: str) -> list[ListedVideo]:
    lines = enumerate(map(str.strip, tree.read_text(path).splitlines()), start=1)
    return [ListedVideo(f"{where}:{number}", line, "") for number, line in lines if line and not line.startswith("#")]


def _from_csv(tree: Tree, path: str, where: str) -> list[ListedVideo]:
    reader = csv.DictReader(io.StringIO(tree.read_text(path)), skipinitialspace=True)
    column = _location_column(list(reader.fieldnames or []), f"{where}:1")
    return [ListedVideo(f"{where}:{reader.line_num}", (row[column] or "").strip(), (row.get(_NAME) or "").strip()) for row in reader]


def _from_parquet(tree: Tree, path: str, where: str) -> list[ListedVideo]:
    table = tree.read_columns(path, (*_LOCATION, _NAME))
    column = _location_column(table.column_names, where)
    uris = _texts(table, column, where)
    names = _texts(table, _NAME, where) if _NAME in table.column_names else [""] * len(table)
    return [ListedVideo(f"{where}, row {row}", uri, name) for row, (uri, name) in enumerate(zip(uris, names, strict=True), start=1)]


def _texts(table: pa.Table, name: str, where: str) -> list[str]:
    try:
        column = table[name].cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(f"{where}: column '{name}' is {table[name].type}; it must hold text") from None
    return [(text or "").strip() for text in column.to_pylist()]


def _location_column(names: list[str], where: str) -> str:
    found = next((name for name in _LOCATION if name in names), None)
    if found is None:
        raise DataError(f"{where}: no column 'uri' or 'path' among {', '.join(names) or 'none'}; one of them is required, video is optional")
    return found
