"""``IMAGE`` tables in storage -> one memory-mapped Arrow file per node -> pixels by row number.

The first process on a node builds the file; reading a random row then takes a few microseconds, whatever the size of the set.
"""

import os
import tempfile
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from filelock import FileLock
from jaxtyping import Bool, Float, Int, UInt8

from abaw_ray.core import schema
from abaw_ray.core.errors import DataError
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.storage import Storage

_READERS = 8
"""Shards that a node reads at the same time; they are in memory, some 20 MB each. Ours."""


def node_cache_folder() -> Path:
    """Folder of this node's local copies: one per user, in the system's temporary directory."""
    folder = Path(tempfile.gettempdir()) / f"abaw_ray-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def open_image_set(storage: Storage, shards: Sequence[str], folder: Path | None = None) -> "ImageSet":
    """The images of these shards from the node's local file; one process builds a missing file while the others wait.

    Args:
        storage: Storage of the shards.
        shards: Paths of the ``IMAGE`` and ``ANNOTATED_IMAGE`` tables below the storage root; rows are in the order of the sorted paths.
        folder: Folder of the local files; ``node_cache_folder`` by default.

    Raises:
        DataError: a shard is missing, or the shards hold no image.
        StageError: a shard is not an ``IMAGE`` table.
    """
    sizes = _sizes(storage, shards)
    path = (folder or node_cache_folder()) / f"images-{digest([storage.uri(), sizes])}.arrow"
    with FileLock(f"{path}.lock"):  # held while opening too: another run may delete the file when it ends; a mapped file stays readable
        if not path.exists():
            partial = path.with_name(f"{path.name}.tmp-{uuid.uuid4().hex[:8]}")
            try:
                with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, schema.IMAGE) as writer:
                    for table in _read_in_order(storage, list(sizes)):
                        writer.write_table(table, max_chunksize=1024)
                os.replace(partial, path)
            finally:
                partial.unlink(missing_ok=True)
        return ImageSet(path)


def _read_in_order(storage: Storage, shards: Sequence[str]) -> Iterator[pa.Table]:
    """The shards in this order, several of which are read at the same time: one request at a time does not use a node's bandwidth."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="shards") as pool:
        pending: deque[Future[pa.Table]] = deque()
        try:
            for shard in shards:
                pending.append(pool.submit(_read_shard, storage, shard))
                if len(pending) == _READERS:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _read_shard(storage: Storage, shard: str) -> pa.Table:
    """The ``IMAGE`` columns of a shard; training does not need to know the subjects."""
    table = storage.read_table(shard)
    return schema.conform(table.drop_columns(["subject"]) if "subject" in table.column_names else table, schema.IMAGE, stage="images")


def _sizes(storage: Storage, shards: Sequence[str]) -> dict[str, int]:
    """Bytes of each shard, sorted by path: a shard with another size has other content."""
    sizes = {}
    for folder in sorted({shard.rpartition("/")[0] for shard in shards}):
        sizes |= {f"{folder}/{name}".lstrip("/"): size for name, size in storage.files(folder).items()}
    missing = [shard for shard in shards if shard not in sizes]
    if missing:
        raise DataError(
            f"{storage.uri(missing[0])}: this shard of the images is missing ({len(missing)} of {len(shards)} are); ingest the images again"
        )
    return {shard: sizes[shard] for shard in sorted(shards)}


class ImageSet:
    """The rows of a local file, by row number."""

    def __init__(self, path: Path) -> None:
        """Map the file into memory.

        Raises:
            DataError: the file holds no image.
        """
        self.path = path
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self._jpegs = [batch.column("jpeg") for batch in batches if batch.num_rows]
        if not self._jpegs:
            raise DataError("images: the set is empty; see the failures of the stage that prepared it")
        self._starts = np.cumsum([0, *(len(jpegs) for jpegs in self._jpegs)])
        table = pa.Table.from_batches(batches).select(["label", "source", "split", "scale", "box", "no_face"])
        self.labels: Int[np.ndarray, " n"] = table.column("label").to_numpy().astype(np.int64)
        """Index into the encoder's classes, by row."""
        self.source = np.array(table.column("source").to_pylist(), dtype=object)
        """Name of the data set, by row."""
        self.split = np.array(table.column("split").to_pylist(), dtype=object)
        """``train`` or ``val``, by row."""
        self.scale: Float[np.ndarray, " n"] = table.column("scale").to_numpy()
        """Side of the stored square over the longer side of the face box, by row."""
        self.has_face: Bool[np.ndarray, " n"] = table.column("no_face").is_null().to_numpy()
        """Whether the detector found a face, by row."""
        boxes = table.column("box").combine_chunks()
        corners = boxes.fill_null([np.nan] * 4).flatten().to_numpy(zero_copy_only=False).reshape(-1, 2, 2)
        self._centers: Float[np.ndarray, "n 2"] = corners.mean(axis=1, dtype=np.float64)

    def __len__(self) -> int:
        """Number of rows of both splits."""
        return int(self._starts[-1])

    def rows(self, split: str, *, with_face: bool = False) -> Int[np.ndarray, " rows"]:
        """Row numbers of a split, ascending; ``with_face`` leaves out images in which the detector found no face."""
        return np.flatnonzero((self.split == split) & (self.has_face if with_face else True))

    def face(self, row: int) -> Float[np.ndarray, "2"] | None:
        """Center of the face box in pixels of the stored image, x and y; None where there is no box."""
        center = self._centers[row]
        return None if np.isnan(center).any() else center

    def pixels(self, row: int) -> UInt8[np.ndarray, "d d 3"]:
        """The stored image, RGB."""
        chunk = int(np.searchsorted(self._starts, row, side="right")) - 1
        jpeg = self._jpegs[chunk][row - int(self._starts[chunk])].as_buffer()
        return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB))
