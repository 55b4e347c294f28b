"""While tests run, every folder with annotated arrays refuses arrays of a wrong shape (``CHECKED`` in ``conftest.py``)."""

import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import AbstractArray, TypeCheckError

PACKAGE = Path(__file__).parents[1] / "abaw_ray"
FOLDERS = ("core", "media", "data", "faces", "scoring", "training", "encoder", "features", "fusion", "report", "predict")
WRONG_SHAPE = (2,) * 9
DTYPES = ("float32", "float16", "float64", "uint8", "int8", "int64", "bool")


def modules(folder: str) -> Iterator[object]:
    """All modules of a folder whose source names jaxtyping."""
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        if "jaxtyping" in path.read_text():
            yield importlib.import_module(".".join(("abaw_ray", *path.relative_to(PACKAGE).with_suffix("").parts)))


def functions(module) -> Iterator[Callable]:
    """Functions of a module and methods of its classes."""
    for value in vars(module).values():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            yield from (method for method in vars(value).values() if inspect.isfunction(method))
        elif inspect.isfunction(value):
            yield value


def wrong_array(annotation: type[AbstractArray]) -> np.ndarray | torch.Tensor:
    """An array of the annotated type and of ``WRONG_SHAPE``."""
    known = annotation.dtypes if isinstance(annotation.dtypes, list | tuple) else DTYPES  # Shaped takes any type
    name = next(name for name in DTYPES if name in known)
    if annotation.array_type is torch.Tensor:
        return torch.zeros(WRONG_SHAPE, dtype=getattr(torch, name))
    return np.zeros(WRONG_SHAPE, dtype=name)


def calls(folder: str) -> Iterator[tuple[Callable, str, dict]]:
    """Functions whose first argument is an annotated array, its name, and their arguments with an array of a wrong shape."""
    for module in modules(folder):
        for function in functions(module):
            parameters = [parameter for parameter in inspect.signature(function).parameters.values() if parameter.name != "self"]
            if not parameters or not inspect.isclass(kind := parameters[0].annotation) or not issubclass(kind, AbstractArray):
                continue
            if kind.array_type not in (np.ndarray, torch.Tensor) or isinstance(array := wrong_array(kind), kind):
                continue
            yield function, parameters[0].name, {parameter.name: None for parameter in parameters} | {parameters[0].name: array}


@pytest.mark.parametrize("folder", FOLDERS)
def test_arrays_of_a_wrong_shape_are_refused(folder):
    found = list(calls(folder))
    assert found, f"no function in {folder} takes an annotated array first"
    for function, name, arguments in found:
        itself = (None,) if "self" in inspect.signature(function).parameters else ()
        with pytest.raises(TypeCheckError, match=f"typechecking parameter '{name}'"):
            function(*itself, **arguments)


def test_every_folder_with_annotated_arrays_is_checked():
    with_arrays = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any("jaxtyping" in file.read_text() for file in path.rglob("*.py"))}
    assert with_arrays == set(FOLDERS)
