"""The analysis of a video -> per person how much was seen, and share, mean probability and number of episodes of each expression; all episodes."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.predict.analysis_data import AnalysisData
from abaw_ray.scoring.episodes import PersonSummary, summarize_people

_NAMES = tuple(name.lower() for name in EXPRESSIONS)
SUMMARY = pa.schema(
    [
        pa.field("video", pa.string(), nullable=False),
        pa.field("person", pa.string(), nullable=False),
        pa.field("first_time", pa.float64(), nullable=False),  # seconds, of the person's first row
        pa.field("last_time", pa.float64(), nullable=False),  # seconds, of the person's last row
        pa.field("frames", pa.int32(), nullable=False),  # rows of the person
        pa.field("share_seen", pa.float32(), nullable=False),  # fraction of the person's time with a face
        pa.field("share_heard", pa.float32(), nullable=False),  # fraction of the person's time with sound
        pa.field("share_scored", pa.float32(), nullable=False),  # fraction of the person's time with a score
        pa.field("dominant", pa.string()),  # expression with the largest share; null without a score
        *(pa.field(f"share_{name}", pa.float32()) for name in _NAMES),  # fraction of the scored time with this label; null without a score
        *(pa.field(f"mean_{name}", pa.float32()) for name in _NAMES),  # mean probability over the scored time
        *(pa.field(f"episodes_{name}", pa.int32()) for name in _NAMES),  # number of episodes
    ]
)
"""Columns of ``summary.csv``; ``scoring.episodes`` defines times, shares and episodes."""
EPISODES = pa.schema(
    [
        pa.field("video", pa.string(), nullable=False),
        pa.field("person", pa.string(), nullable=False),
        pa.field("expression", pa.string(), nullable=False),
        pa.field("start", pa.float64(), nullable=False),  # seconds, of the first frame
        pa.field("end", pa.float64(), nullable=False),  # seconds, of the frame after the last one
        pa.field("first_frame", pa.int32(), nullable=False),
        pa.field("last_frame", pa.int32(), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),  # mean probability of the expression over the episode
    ]
)
"""Columns of ``episodes.csv``: one row per episode, by person, then by time."""


def summarize(analysis: AnalysisData) -> pa.Table:
    """One row of ``SUMMARY`` per person, the main person first."""
    return pa.Table.from_pylist([_row(analysis, name, person) for name, person in _people(analysis).items()], schema=SUMMARY)


def list_episodes(analysis: AnalysisData) -> pa.Table:
    """One row of ``EPISODES`` per episode, the main person first."""
    key = {"video": analysis.video.name}
    rows = [key | {"person": name} | vars(episode) for name, person in _people(analysis).items() for episode in person.episodes]
    return pa.Table.from_pylist(rows, schema=EPISODES)


def _people(analysis: AnalysisData) -> Mapping[str, PersonSummary]:
    return summarize_people(analysis.table, analysis.video.end_s)


def _row(analysis: AnalysisData, name: str, person: PersonSummary) -> dict[str, Any]:
    shares = person.shares
    row = {"video": analysis.video.name, "person": name, "first_time": person.first_time, "last_time": person.last_time, "frames": person.frames}
    row |= {"share_seen": person.seen, "share_heard": person.heard, "share_scored": person.scored}
    row["dominant"] = max(shares, key=lambda expression: shares[expression], default=None)
    for kind, values in (("share", shares), ("mean", person.means), ("episodes", person.counts)):
        row |= {f"{kind}_{expression.lower()}": value for expression, value in values.items()}
    return row
