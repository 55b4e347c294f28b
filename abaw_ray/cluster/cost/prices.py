"""Prices of machines, with their date, from the cluster file: ``provider.prices``. Ray's schema allows further keys there, and Ray ignores them.

Prices never stop a run: without them, or where they are wrong, there are hours without USD and a remark.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from abaw_ray.cluster.machines.capacity import BOOTSTRAP, priced_as

_MAX_AGE_DAYS = 120
"""Age of prices above which there is a remark. Ours."""


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Prices of machines."""

    date: str = ""
    """Day on which they were looked up, ISO 8601; empty without prices."""
    usd_per_hour: Mapping[str, float] = field(default_factory=dict)
    """Type of machine (``g5.12xlarge``, ``g5.12xlarge on demand``), and name of a node type of the cluster file -> USD per hour of one machine."""
    head: float = 0.0
    """USD per hour of the head; 0 where it has no price."""
    remark: str = ""
    """Why there are no prices, or that they are old; empty where all is well."""

    def usd(self, hours: Mapping[str, float]) -> float | None:
        """Cost of machine hours by type; None where a type has no price, and without hours."""
        known = [self.usd_per_hour[kind] * value for kind, value in hours.items() if kind in self.usd_per_hour]
        return sum(known) if known and len(known) == len(hours) else None


def prices_for(cluster_file: str, today: date | None = None) -> Prices:
    """The prices of a cluster file, else of that of the joined cluster.

    Args:
        cluster_file: Path of a cluster file; empty for the one that ``ray up`` has copied to the head.
        today: For the age of the prices.
    """
    joined = bool(os.environ.get("RAY_ADDRESS"))
    path = Path(cluster_file) if cluster_file else BOOTSTRAP.expanduser() if joined else None
    if path is None:
        return Prices()
    return read_prices(path, today or date.today())


def read_prices(path: Path, today: date) -> Prices:
    """The prices in a cluster file."""
    import yaml

    if path == BOOTSTRAP.expanduser() and not path.is_file():
        return Prices()  # machines that are always running, or pods
    name = path.name if path.name != BOOTSTRAP.name else "the cluster file"
    try:
        config = yaml.safe_load(path.read_text())
        found = config["provider"].get("prices")
        if found is None:
            return Prices(remark=f"no prices in {name}; add provider.prices for costs in USD")
        day = date.fromisoformat(str(found["date"]))
        prices = {str(kind): price_of(value) for kind, value in found["usd_per_hour"].items()}
        types = {node: priced_as(entry) for node, entry in (config.get("available_node_types") or {}).items()}
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        return Prices(
            remark=f"provider.prices in {name} cannot be used ({type(error).__name__}: {' '.join(str(error).split())[:80]}); no costs in USD"
        )
    prices |= {node: prices[kind] for node, kind in types.items() if kind in prices}  # Ray counts machines by either name
    age = (today - day).days
    remark = f"the prices in {name} are of {day}, {age // 30} months old; look them up again" if age > _MAX_AGE_DAYS else ""
    return Prices(date=day.isoformat(), usd_per_hour=prices, head=prices.get(str(config.get("head_node_type")), 0.0), remark=remark)


def price_of(value: Any) -> float:
    """A price in USD per hour.

    Raises:
        ValueError: it is no number above 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 10_000:
        raise ValueError(f"{value!r} is no price in USD per hour")
    return float(value)
