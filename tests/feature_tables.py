"""Tables of features with random vectors."""

import numpy as np
import pyarrow as pa

from abaw_ray.core import schema


def feature_table(video, tracks, seed=0, visual=3, speech=2, rate=30.0):
    """FEATURE rows: every third frame without a face, every fifth without audio."""
    rng = np.random.default_rng(seed)
    rows = []
    for track, frames in tracks.items():
        for frame in range(1, frames + 1):
            seen, heard = frame % 3 != 0, frame % 5 != 0
            rows.append(
                {
                    "video": video,
                    "track": track,
                    "frame": frame,
                    "time": frame / rate,
                    "shot": frame // 9,
                    "seen": seen,
                    "heard": heard,
                    "visual": rng.normal(size=visual).astype(np.float16) if seen else None,
                    "speech": rng.normal(size=speech).astype(np.float16) if heard else None,
                }
            )
    return pa.Table.from_pylist(rows, schema=schema.feature(visual, speech))
