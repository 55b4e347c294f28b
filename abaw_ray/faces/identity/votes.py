"""Votes of a tracklet (embeddings of single faces) -> similarities of tracklets, the runs that show one person each, and a bounded selection."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32


@dataclass(frozen=True, eq=False)
class Vote:
    """The embedding of one good face."""

    time: float
    """Seconds."""
    quality: float
    """0 to 1 (``FaceQuality.value``)."""
    embedding: Float32[np.ndarray, " dim"]
    """Unit vector."""


def mean_similarity(a: Sequence[Vote], b: Sequence[Vote]) -> float:
    """Return the mean cosine similarity of all pairs of a vote of ``a`` and one of ``b``; neither is empty."""
    first, second = (np.stack([vote.embedding for vote in votes]).astype(np.float64).mean(axis=0) for votes in (a, b))
    return float(np.dot(first, second))  # the mean over pairs of products is the product of the means


def select(votes: Sequence[Vote], count: int) -> list[Vote]:
    """Return at most ``count`` votes in order of time: the best one of each of ``count`` equal parts of their time."""
    ordered = sorted(votes, key=lambda vote: vote.time)
    if len(ordered) <= count:
        return ordered
    start, duration = ordered[0].time, ordered[-1].time - ordered[0].time
    best: dict[int, Vote] = {}
    for vote in ordered:
        part = min(int((vote.time - start) / max(duration, 1e-9) * count), count - 1)
        if part not in best or vote.quality > best[part].quality:
            best[part] = vote
    return [best[part] for part in sorted(best)]


def runs(votes: Sequence[Vote], different: float) -> list[int]:
    """Return where the person changes: indices of votes that show another person than the vote before.

    Groups of votes are merged by their mean similarity, the most similar first, as long as it is not below ``different``. So one unusual vote
    does not divide its tracklet as long as it resembles the others in the mean.

    Args:
        votes: Of one tracklet, in order of time.
        different: Mean similarity below which two sets show two people.

    Source: average-linkage clustering.
    """
    if len(votes) < 2:
        return []
    vectors = np.stack([vote.embedding for vote in votes]).astype(np.float64)
    similarity = vectors @ vectors.T
    if similarity.min() >= different:  # the usual case
        return []
    labels = _average_linkage(similarity, different)
    return [index for index in range(1, len(votes)) if labels[index] != labels[index - 1]]


def _average_linkage(similarity: Float[np.ndarray, "n n"], minimum: float) -> list[int]:
    """Return a group number for each item."""
    from scipy.cluster.hierarchy import fcluster, linkage  # here, because loading scipy takes half a second
    from scipy.spatial.distance import squareform

    distance = np.clip(1 - (similarity + similarity.T) / 2, 0, None)
    np.fill_diagonal(distance, 0)
    groups: list[int] = fcluster(linkage(squareform(distance, checks=False), method="average"), 1 - minimum, criterion="distance").tolist()
    return groups
