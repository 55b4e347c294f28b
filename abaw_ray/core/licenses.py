"""Licenses of weights."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class License:
    """What the weights may be used for."""

    id: str
    """Identifier of the model hub's list, such as ``apache-2.0``; ``other`` for one that is not in it."""
    terms: str
    """One sentence for people: shown on the terminal, in pages and in the model card."""


SYNTHETIC_LICENSE = License(id="apache-2.0", terms="Trained on generated data; free to use under the Apache License 2.0.")
"""Of weights that were trained on generated data."""
RESEARCH_LICENSE = License(
    id="other",
    terms="For research only, not for commercial use: the weights were trained on data sets whose licenses allow nothing else.",
)
"""Of weights that were trained on Aff-Wild2, AffectNet or RAF-DB."""
