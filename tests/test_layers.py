"""The first rule of the architecture: a folder imports only from those before it, and only ``cluster/`` imports Ray and DeepSpeed."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ["core", "media", "data", "faces", "scoring", "training", "encoder", "features", "fusion", "report", "predict", "cluster", "cli"]
CLUSTER_PACKAGES = {"ray", "deepspeed"}


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that the file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; name the module in full"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def modules() -> list[Path]:
    return sorted((ROOT / "abaw_ray").rglob("*.py"))


def folder(path: Path) -> str:
    return path.relative_to(ROOT / "abaw_ray").parts[0]


def test_every_folder_of_the_package_is_in_the_list_of_layers():
    assert {folder(path) for path in modules() if path.parent != ROOT / "abaw_ray"} == set(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_folder_imports_only_itself_and_the_folders_before_it(layer):
    allowed = set(LAYERS[: LAYERS.index(layer) + 1])
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules()
        if folder(path) == layer
        for name in imports(path)
        if name.startswith("abaw_ray.") and name.split(".")[1] in set(LAYERS) - allowed
    }
    assert not wrong


def test_ray_and_deepspeed_are_imported_in_cluster_only():
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules()
        if folder(path) != "cluster"
        for name in imports(path)
        if name.split(".")[0] in CLUSTER_PACKAGES
    }
    assert not wrong


def test_there_are_no_import_cycles():
    graph = {f"abaw_ray.{'.'.join(path.relative_to(ROOT / 'abaw_ray').with_suffix('').parts)}": imports(path) for path in modules()}
    seen: dict[str, bool] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"import cycle: {' -> '.join((*trail, name))}"
        if name in graph and not seen.get(name):
            for other in graph[name] - {name}:
                visit(other, (*trail, name))
            seen[name] = True

    for name in graph:
        visit(name, ())


def test_core_imports_no_torch():
    wrong = {name for path in modules() if folder(path) == "core" for name in imports(path) if name.split(".")[0] in {"torch", *CLUSTER_PACKAGES}}
    assert not wrong
