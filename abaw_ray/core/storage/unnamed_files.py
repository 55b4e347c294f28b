"""Local files without names: they are read as usual, and the disk is free again when the process ends, however it ends."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO


def open_all(folder: Path, stack: ExitStack) -> dict[str, BinaryIO]:
    """Open the files of a folder, not of its subfolders: they stay readable after the folder is deleted, until the stack is closed."""
    return {path.name: stack.enter_context(path.open("rb")) for path in sorted(folder.iterdir()) if path.is_file()}


def link_all(files: Mapping[str, BinaryIO], folder: Path) -> None:
    """Give open files names in a folder, for code of this process that opens files by path."""
    for name, file in files.items():
        (folder / name).symlink_to(f"/proc/self/fd/{file.fileno()}")
