"""Tables of Stage II as Parquet, for anyone's own analysis: candidates of a sweep, their epochs, and confusion matrices by recording."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from abaw_ray.core.storage.storage import Storage

CANDIDATES_FILE, EPOCHS_FILE = "candidates.parquet", "epochs.parquet"
RECORDINGS_FILE = "recordings.parquet"
"""Confusion matrices by evaluation and recording, from which every score and every paired difference follows."""


def write_tables(storage: Storage, folder: str, candidates: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write one row per candidate (mode, trial, its settings by dotted path, epochs, scores with intervals) and one per candidate and epoch.

    The settings of the first candidate, which has the unchanged ones, are null.
    """
    rows, epochs = [], []
    for mode, results in candidates.items():
        for number, row in enumerate(results):
            key = {"mode": mode, "candidate": number, "trial": row["trial"]}
            scores = {"stopped": row["stopped"], "trained_epochs": len(row["curve"]), "best_macro_f1": max(one["macro_f1"] for one in row["curve"])}
            chosen = {"epochs": row.get("epochs"), "in_sample": row.get("score"), "cross_fitted": row.get("cross_fitted")}
            selection = row.get("selection")
            intervals = {f"{name}_interval": selection and selection[name]["interval"] for name in ("in_sample", "cross_fitted")}
            rows.append({**key, **scores, **chosen, **intervals, **row["changes"]})
            epochs += [{**key, **one} for one in row["curve"]]
    names = list(dict.fromkeys(name for row in rows for name in row))
    types = {f"{name}_interval": pa.list_(pa.float64()) for name in ("in_sample", "cross_fitted")}
    table = pa.table({name: pa.array([row.get(name) for row in rows], types.get(name)) for name in names})
    storage.write_table(f"{folder}/{CANDIDATES_FILE}", table)
    storage.write_table(f"{folder}/{EPOCHS_FILE}", pa.Table.from_pylist(epochs))
