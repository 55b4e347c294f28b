"""Names of the metrics for Prometheus: its conventions, and their table in the documentation."""

import re
from pathlib import Path

import pytest

from abaw_ray.cluster.metrics.prometheus import DEFINITIONS

UNITS = ("bytes", "seconds")


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.name)
def test_a_name_has_the_prefix_of_the_package_and_the_suffix_of_its_kind(definition):
    assert re.fullmatch(r"abaw_ray_[a-z_]+", definition.name)
    assert definition.name.endswith("_total") == (definition.kind == "counter")
    assert definition.tags[:2] == ("stage", "run")


def test_a_time_or_a_size_has_its_unit_in_its_name():
    for definition in DEFINITIONS:
        unit = next((unit for unit in UNITS if unit in definition.name), None)
        assert ("seconds" in definition.description.lower().split()[:1]) == (unit == "seconds")
        assert ("memory" in definition.name) == (unit == "bytes")


def test_the_documentation_has_every_metric_with_its_type_its_tags_and_its_meaning():
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    rows = [tuple(line.strip("| ").split(" | ")) for line in page.splitlines() if line.startswith("| `abaw_ray_")]
    assert rows == [(f"`{one.name}`", one.kind, ", ".join(one.tags), one.description) for one in DEFINITIONS]
