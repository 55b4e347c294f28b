"""``IMAGE`` parts in storage -> one Arrow file on the node, mapped into memory, and its rows as pixels.

The file is built once a node, by whichever process comes first; a random row then costs a few microseconds, whatever the set's size.
"""

import os
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from filelock import FileLock
from jaxtyping import Float, Int, UInt8

from abaw_ray.core import schema
from abaw_ray.core.errors import DataError
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.storage import Storage


def node_folder() -> Path:
    """Where this node keeps local copies: the user's own folder among the system's temporary files."""
    folder = Path(tempfile.gettempdir()) / f"abaw_ray-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def node_images(storage: Storage, shards: Sequence[str], folder: Path | None = None) -> "ImageSet":
    """The images of these parts from the node's own file; it is built when it is not there yet, by one process while the others wait.

    Args:
        storage: Where the parts lie.
        shards: Their paths below the storage root; the order of rows is the order of the sorted paths.
        folder: Where local files are kept; ``node_folder`` by default.

    Raises:
        DataError: a part is not there, or the parts hold no image.
        StageError: a part is no ``IMAGE`` table.
    """
    sizes = _sizes(storage, shards)
    path = (folder or node_folder()) / f"images-{digest([storage.uri(), sizes])}.arrow"
    with FileLock(f"{path}.lock"):  # opened under the lock too: another run that ends may delete the file, which an open one outlives
        if not path.exists():
            partial = path.with_name(f"{path.name}.tmp-{uuid.uuid4().hex[:8]}")
            try:
                with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, schema.IMAGE) as writer:
                    for shard in sizes:
                        writer.write_table(schema.conform(storage.read_table(shard), schema.IMAGE, stage="images"), max_chunksize=1024)
                os.replace(partial, path)
            finally:
                partial.unlink(missing_ok=True)
        return ImageSet(path)


def _sizes(storage: Storage, shards: Sequence[str]) -> dict[str, int]:
    """Bytes of each part, sorted by path: a part that was made anew is another one."""
    there = {}
    for folder in sorted({shard.rpartition("/")[0] for shard in shards}):
        there |= {f"{folder}/{name}".lstrip("/"): size for name, size in storage.files(folder).items()}
    lost = [shard for shard in shards if shard not in there]
    if lost:
        raise DataError(f"{storage.uri(lost[0])}: this part of the images is gone ({len(lost)} of {len(shards)} are); ingest them again")
    return {shard: there[shard] for shard in sorted(shards)}


class ImageSet:
    """The rows of a local file, by number."""

    def __init__(self, path: Path) -> None:
        """Map the file.

        Raises:
            DataError: it holds no image.
        """
        self.path = path
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self._jpegs = [batch.column("jpeg") for batch in batches if batch.num_rows]
        if not self._jpegs:
            raise DataError("images: the set is empty; look at the failures of the stage that prepared it")
        self._starts = np.cumsum([0, *(len(jpegs) for jpegs in self._jpegs)])
        table = pa.Table.from_batches(batches).select(["label", "split", "scale"])
        self.labels: Int[np.ndarray, " n"] = table.column("label").to_numpy().astype(np.int64)
        """Index into the encoder's classes, by row."""
        self.split = np.array(table.column("split").to_pylist(), dtype=object)
        """``train`` or ``val``, by row."""
        self.scale: Float[np.ndarray, " n"] = table.column("scale").to_numpy()
        """Side of the stored square over that of the face's box, by row."""

    def __len__(self) -> int:
        """Rows of both splits."""
        return int(self._starts[-1])

    def rows(self, split: str) -> Int[np.ndarray, " rows"]:
        """Numbers of a split's rows, ascending."""
        return np.flatnonzero(self.split == split)

    def pixels(self, row: int) -> UInt8[np.ndarray, "d d 3"]:
        """The stored image, RGB."""
        chunk = int(np.searchsorted(self._starts, row, side="right")) - 1
        jpeg = self._jpegs[chunk][row - int(self._starts[chunk])].as_buffer()
        return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
