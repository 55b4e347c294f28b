"""The analyzer as a class for Ray Data's ``map_batches``, or any other engine that passes batches as dictionaries."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from abaw_ray.core import schema
from abaw_ray.core.errors import ItemError
from abaw_ray.predict.analyzer import Analyzer


class BatchAnalyzer:
    """Batches of video paths -> rows of the ANALYSIS table.

    Use it with small batches, ``dataset.map_batches(BatchAnalyzer, fn_constructor_args=(model,), batch_size=1, ...)``: the rows of a batch are in
    memory at once. A video that cannot be decoded gives one row with frame 0, without scores, and its reason in ``source``.
    """

    def __init__(self, model: str, *, path_column: str = "path", **options: Any) -> None:
        """Open the model.

        Args:
            model: As for ``Analyzer``.
            path_column: Column with paths or URIs.
            options: Keyword arguments of ``Analyzer``.
        """
        self.analyzer, self.path_column = Analyzer(model, **options), path_column

    def __call__(self, batch: Mapping[str, Sequence[str]]) -> pa.Table:
        """The rows of all videos of the batch, in their order."""
        return pa.concat_tables([schema.ANALYSIS.empty_table(), *(self._rows(str(path)) for path in batch[self.path_column])])

    def _rows(self, path: str) -> pa.Table:
        try:
            return self.analyzer(path).table
        except ItemError as error:
            row = {"video": path, "person": schema.MAIN_TRACK, "frame": 0, "time": 0.0, "seen": False, "heard": False, "scored": False}
            return pa.Table.from_pylist([row | {"source": f"failed: {error}"}], schema=schema.ANALYSIS)
