"""Metrics for Prometheus: the conventions of their names, their table in the documentation, and when the GPU memory is read."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from abaw_ray.cluster.metrics.prometheus import DEFINITIONS, GPU_MEMORY, Metrics

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


def test_the_gpu_memory_is_read_where_pytorch_uses_a_gpu_and_not_while_it_is_imported(monkeypatch):
    values, metrics = [], Metrics("faces", "run")
    monkeypatch.setattr(metrics, "set", lambda definition, value: values.append((definition, value)))
    torch, cuda = ModuleType("torch"), ModuleType("torch.cuda")  # as another thread's import leaves them before it has run their code
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.delitem(sys.modules, "torch.cuda", raising=False)
    metrics.set_gpu_memory()
    monkeypatch.setitem(sys.modules, "torch.cuda", cuda)
    metrics.set_gpu_memory()
    cuda.is_initialized, cuda.max_memory_allocated = lambda: False, lambda: 7
    metrics.set_gpu_memory()
    assert values == []
    cuda.is_initialized = lambda: True
    metrics.set_gpu_memory()
    assert values == [(GPU_MEMORY, 7)]
