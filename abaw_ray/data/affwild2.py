"""An Aff-Wild2 tree (EXPR challenge): its subjects, their raw videos and labels, and the test release.

Reads names, annotations and lists; no video is opened. The annotation of subject ``n`` belongs to the ``FACE`` rows whose track
is ``n``, row ``i`` to frame ``i``.
"""

import math
import re
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int8

from abaw_ray.core.errors import DataError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.data.annotations import parse_annotation
from abaw_ray.data.release import parse_example, parse_names
from abaw_ray.data.subjects import Split, Subject, make_subjects
from abaw_ray.data.trees import Entry, Tree, open_file
from abaw_ray.data.videos import file_identity

TASK = "EXPR_Recognition_Challenge"
_SETS: dict[Split, str] = {"train": "Train_Set", "val": "Validation_Set"}
_VIDEO_FOLDER = re.compile(r"batch\d+|videos|new_vids")
_CONTAINERS = (".mp4", ".avi")
_MAX_DEPTH = 3
"""Levels below the root that are searched for the folders of the task and of the videos."""
_MAX_LISTED_FOLDERS = 200
"""Maximum number of folders listed by ``is_affwild2``; default ours."""
TEST_NAMES, TEST_EXAMPLE = "EXPR_test_release.txt", "EXPR_test_example.txt"


class AffWild2:
    """The tree below one root.

    Args:
        root: Holds the annotations (``EXPR_Recognition_Challenge`` in a folder of any name) and the folders of raw videos.
        test_names: File with the names of the test release, below the root or a full path or URI. If the default file is missing, there is no test
            split.
        test_example: File with the required rows of a submission, also below the root or a full path or URI; only ``submission_rows`` reads it.
        storage: Access to an object store; only endpoint and region are used.

    Raises:
        DataError: no or several annotation folders, a name in two splits, missing or duplicate raw videos, or a missing file.
        StorageError: the store cannot be reached.
    """

    def __init__(
        self,
        root: str | Path,
        test_names: str = TEST_NAMES,
        test_example: str = TEST_EXAMPLE,
        *,
        storage: StorageConfig | None = None,
    ) -> None:
        self.tree = Tree(root, storage)
        self._test_names, self._test_example = test_names, test_example
        tasks, folders = self._folders()
        if len(tasks) != 1:
            found = f"{len(tasks)} folders {', '.join(tasks)}" if tasks else "no folder"
            raise DataError(f"{self.tree.root}: {found} named '{TASK}'; exactly one must lie below the root, at most {_MAX_DEPTH} levels deep")
        self._task = tasks[0]
        names: dict[Split, list[str]] = {**{split: self._annotated(split) for split in _SETS}, "test": self._released()}
        duplicates = [name for name, count in Counter(name for some in names.values() for name in some).items() if count > 1]
        if duplicates:
            raise DataError(f"{self.tree.root}: '{duplicates[0]}' is in more than one of Train_Set, Validation_Set and the test release; keep one")
        self.subjects: list[Subject] = make_subjects(names)
        self._videos = self._find_videos(folders, {subject.video for subject in self.subjects})
        missing = [subject.name for subject in self.subjects if subject.video not in self._videos]
        if missing:
            shown = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
            raise DataError(f"{self.tree.root}: no raw video for {len(missing)} of {len(self.subjects)} subjects: {shown}; add them to batch1/")

    def videos(self) -> list[dict]:
        """``VIDEO`` rows of the raw videos with a subject, sorted by name."""
        return [self._row(video, self._videos[video]) for video in sorted({subject.video for subject in self.subjects})]

    def crop_folders(self, kind: str) -> dict[str, str]:
        """Folders of official crops by subject; a subject may have none.

        Args:
            kind: ``cropped`` or ``cropped_aligned``; folders below ``<kind>_new_50_vids`` are included.

        Raises:
            DataError: the tree has no such crops.
        """
        tops = [name for name in (kind, f"{kind}_new_50_vids") if self.tree.exists(name)]
        names = {subject.name for subject in self.subjects}
        found = {entry.name: self.tree.uri(entry.path) for top in tops for entry in self.tree.entries(top) if entry.is_folder and entry.name in names}
        if not found:
            raise DataError(f"{self.tree.uri(kind)}: no folder of a subject; expected {kind}/<subject>/00001.jpg, or leave data.affwild2_crops empty")
        return found

    def labels(self, name: str) -> Int8[np.ndarray, " rows"]:
        """One label per annotation row of a train or validation subject; -1 where unlabelled.

        Raises:
            DataError: the subject has no annotation, or the file breaks its format (``parse_annotation``).
        """
        split = next((subject.split for subject in self.subjects if subject.name == name), None)
        if split not in _SETS:
            raise DataError(f"{self.tree.root}: '{name}' has no annotation; it is {'in the test release' if split else 'not in this tree'}")
        path = f"{self._task}/{_SETS[split]}/{name}.txt"
        return parse_annotation(self.tree.read_text(path), self.tree.uri(path))

    def submission_rows(self) -> list[tuple[str, int]]:
        """Subject's name and frame number (from 1) of every required row of a submission, in order.

        Raises:
            DataError: there is no example file, or it breaks its format.
        """
        tree, path = self._place(self._test_example)
        return parse_example(tree.read_text(path), tree.uri(path))

    def _folders(self) -> tuple[list[str], list[str]]:
        """Paths of the task's folders and of the folders with raw videos."""
        folders = list(_find_folders(self.tree))
        return [entry.path for entry in folders if entry.name == TASK], [entry.path for entry in folders if entry.name != TASK]

    def _annotated(self, split: Split) -> list[str]:
        folder = f"{self._task}/{_SETS[split]}"
        names = [entry.name.removesuffix(".txt") for entry in self.tree.entries(folder) if entry.name.endswith(".txt")]
        if not names:
            raise DataError(f"{self.tree.uri(folder)}: no .txt annotations found")
        return names

    def _released(self) -> list[str]:
        tree, path = self._place(self._test_names)
        if self._test_names == TEST_NAMES and not tree.exists(path):
            return []
        return parse_names(tree.read_text(path), tree.uri(path))

    def _place(self, path: str) -> tuple[Tree, str]:
        return open_file(path, self.tree.config) if path.startswith("/") or "://" in path else (self.tree, path)

    def _find_videos(self, folders: list[str], wanted: set[str]) -> dict[str, Entry]:
        """Name of a raw video without suffix -> its file; names may contain dots, so only the container's suffix is removed."""
        found: dict[str, Entry] = {}
        for entry in (entry for folder in folders for entry in self.tree.entries(folder, recursive=True)):
            stem, suffix = entry.name[:-4], entry.name[-4:].lower()
            if entry.is_folder or suffix not in _CONTAINERS or stem not in wanted:
                continue
            if stem in found:
                raise DataError(f"{self.tree.root}: '{stem}' exists twice, {found[stem].path} and {entry.path}; remove one")
            found[stem] = entry
        return found

    def _row(self, video: str, entry: Entry) -> dict:
        uri = self.tree.uri(entry.path)
        subjects = [{"track": subject.name, "side": subject.side} for subject in self.subjects if subject.video == video]
        return {"video": video, "uri": uri, "identity": file_identity(uri, entry), "size": entry.size, "subjects": subjects}


def is_affwild2(where: str | Path, storage: StorageConfig | None = None) -> bool:
    """Whether this is a folder with EXPR annotations, which ``AffWild2`` can read.

    Lists at most 200 folders, breadth first and at most three levels deep, so a large bucket takes seconds; annotations
    deep among many other folders are not found. False for a pattern, a list, a single file and a missing path.

    Raises:
        StorageError: the store cannot be reached.
    """
    tree, name = open_file(where, storage)
    entry = tree.stat([name])[0] if name else None
    if name and (entry is None or not entry.is_folder):
        return False
    return any(found.name == TASK for found in _find_folders(Tree(where, storage), _MAX_LISTED_FOLDERS))


def _find_folders(tree: Tree, limit: float = math.inf) -> Iterator[Entry]:
    """The folders of the task and of raw videos, breadth first; their content and the official crops (millions of files) are not listed."""
    queue, listed = deque([("", 1)]), 0
    while queue and listed < limit:
        path, depth = queue.popleft()
        listed += 1
        for entry in tree.entries(path):
            if not entry.is_folder or entry.name.startswith("cropped"):
                continue
            if entry.name == TASK or _VIDEO_FOLDER.fullmatch(entry.name):
                yield entry
            elif depth < _MAX_DEPTH:
                queue.append((entry.path, depth + 1))
