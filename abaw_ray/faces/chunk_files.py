"""What one worker saw of a video: its frames' times, its tracklets, and how it meets its neighbours; as a value and as two files.

The rows themselves are in a spool (``rows.arrow``); everything else is small and stands in ``piece.json``, which is written last.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from abaw_ray.faces.tracking.people import Summary

ROWS, HEAD = "rows.arrow", "piece.json"
"""Names of a piece's two files; the second says that both are whole."""


@dataclass(eq=False)
class Piece:
    """One span of a video, watched by one worker. Frames are counted from where its decoding began."""

    first: int = 1
    """Number of its first own frame."""
    times: list[float] = field(default_factory=list)
    """Of its own frames."""
    tracklets: list[Summary] = field(default_factory=list)
    """Those who are believed, stretch by stretch."""
    opening: list[list[float]] = field(default_factory=list)
    """Time and checksum of each frame about its beginning that the piece before decodes too."""
    closing: list[list[float]] = field(default_factory=list)
    """Likewise about its end."""
    complete: bool = False
    """Whether decoding went on behind its end: what broke there is the next one's."""
    mended: bool = False
    """Whether times were made up: then frames of two pieces cannot be told apart by them."""
    broke: str | None = None
    """Why decoding ended before the span did; None where it did not."""
    batches: dict[int, list[int]] = field(default_factory=dict)
    """Where the rows of each tracklet are in the spool."""

    def write(self, folder: Path) -> None:
        """Write ``piece.json``; the spool must be whole by then."""
        plain = asdict(self)
        for tracklet in plain["tracklets"]:
            tracklet["colours"] = tracklet["colours"].tolist()
        (folder / HEAD).write_text(json.dumps(plain))

    @classmethod
    def read(cls, folder: Path) -> "Piece":
        """Read ``piece.json``; every number comes back as it was."""
        plain = json.loads((folder / HEAD).read_text())
        plain["tracklets"] = [Summary(**{**one, "colours": np.array(one["colours"], dtype=np.float64)}) for one in plain["tracklets"]]
        plain["batches"] = {int(number): indices for number, indices in plain["batches"].items()}
        return cls(**plain)
