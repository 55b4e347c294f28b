"""The result for one chunk of a video: frame times, tracklets and checksums at its boundaries; in memory and as two files.

The rows are in a row buffer (``rows.arrow``). Everything else is small and goes to ``chunk.json``, which is written last. Both files are deleted
once the video is joined; the embeddings in the second go nowhere else.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from abaw_ray.faces.identity.votes import Vote
from abaw_ray.faces.tracking.summary import TrackletSummary

ROWS_FILE, META_FILE = "rows.arrow", "chunk.json"
"""Names of the two files; the presence of the second means that both are complete."""


@dataclass(eq=False)
class ChunkResult:
    """Result for one chunk. Frames are counted from the first decoded frame."""

    first_frame: int = 1
    """Number of the first frame that belongs to the chunk."""
    times: list[float] = field(default_factory=list)
    """Presentation times in seconds of the frames that belong to the chunk, skipped ones included."""
    skipped: int = 0
    """Number of frames before the time range, which have no rows."""
    after: float | None = None
    """Presentation time in seconds of the first frame after the time range; None where decoding ended before."""
    tracklets: list[TrackletSummary] = field(default_factory=list)
    """The accepted tracklets, by segment."""
    shot_starts: list[int] = field(default_factory=list)
    """Numbers of the frames with which a shot starts, ascending; those of the chunk's own frames."""
    start_checksums: list[list[float]] = field(default_factory=list)
    """Time and checksum of each frame around the start that the previous chunk also decodes."""
    end_checksums: list[list[float]] = field(default_factory=list)
    """The same around the end."""
    reached_end: bool = False
    """Whether decoding passed the end; an error after it belongs to the next chunk."""
    repaired_times: bool = False
    """Whether frame times were estimated (``Clock.repaired``); frames of two chunks can then not be matched by time."""
    error: str | None = None
    """Why decoding stopped before the end of the chunk; None where it did not."""
    size: tuple[int, int] | None = None
    """Width and height in pixels of the first upright frame; None without a frame."""
    batches: dict[int, list[int]] = field(default_factory=dict)
    """Indices of the record batches of each tracklet in the row buffer."""

    def write(self, folder: Path) -> None:
        """Write ``chunk.json``; the row buffer must be complete by then."""
        plain = asdict(self)
        for tracklet in plain["tracklets"]:
            tracklet["votes"] = [vote | {"embedding": vote["embedding"].tolist()} for vote in tracklet["votes"]]
        (folder / META_FILE).write_text(json.dumps(plain))

    @classmethod
    def read(cls, folder: Path) -> "ChunkResult":
        """Read ``chunk.json``; every number is restored exactly."""
        plain = json.loads((folder / META_FILE).read_text())
        for tracklet in plain["tracklets"]:
            tracklet["votes"] = [Vote(**vote | {"embedding": np.array(vote["embedding"], dtype=np.float32)}) for vote in tracklet["votes"]]
        plain["tracklets"] = [TrackletSummary(**tracklet) for tracklet in plain["tracklets"]]
        plain["batches"] = {int(number): indices for number, indices in plain["batches"].items()}
        plain["size"] = plain["size"] and tuple(plain["size"])
        return cls(**plain)
