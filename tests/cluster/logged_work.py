"""Work on items for tests: it logs its calls and raises errors that its payload selects."""

from pathlib import Path

import pyarrow as pa

from abaw_ray.core.errors import DataError, ItemError, StorageError


class LoggedWork:
    """Writes one row per item, and logs each call; the payload selects an error."""

    def __init__(self, log):
        self.log = log

    def __call__(self, store, item, payload):
        with open(self.log, "a") as log:
            log.write(item.name + "\n")
        if payload.get("bad"):
            raise ItemError("not a video")
        if payload.get("data_error"):
            raise DataError("where: the disk is gone; plug it in")
        attempts = Path(self.log).read_text().split().count(item.name)
        if attempts <= payload.get("storage_errors", 0):
            raise StorageError(f"{item.name}: no answer")
        if payload.get("damaged"):
            store.write_failure(item, error := ItemError("decoding broke", last_frame=5))
            store.storage.write_table(store.output(item), pa.table({"n": [1] * 5}))
            raise error
        store.storage.write_table(store.output(item), pa.table({"n": [payload["n"]]}))
        return {"rows": 1, "frames": 10}
