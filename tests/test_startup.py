"""Settings modules import no heavy package, so that ``--help`` and a wrong option are answered quickly."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "timm", "transformers", "ray", "pandas", "scipy", "matplotlib", "boto3", "cv2", "av", "pyarrow")
LIGHT = [
    "abaw_ray.training.config",
    "abaw_ray.encoder.config",
    "abaw_ray.features.config",
]
"""Modules of settings; a module that defines settings belongs here."""


@pytest.mark.parametrize("module", LIGHT)
def test_a_settings_module_imports_no_heavy_package(module):
    code = f"import sys, {module}; print(*({set(HEAVY)!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
