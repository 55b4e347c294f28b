"""Settings are read without numerical libraries: the command line shows its help and rejects a wrong option without loading torch."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "timm", "transformers", "ray", "pandas", "scipy", "sklearn", "matplotlib", "boto3", "cv2", "av", "pyarrow")
IMPORT = """
import importlib, sys
importlib.import_module(sys.argv[1])
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize("module", ["fusion.config", "scoring.config", "data.config", "data.synthetic.config", "training.config"])
def test_settings_are_imported_without_numerical_libraries(module):
    loaded = subprocess.run([sys.executable, "-c", IMPORT, f"abaw_ray.{module}"], capture_output=True, text=True, check=True).stdout.split()
    assert "abaw_ray" in loaded
    assert not set(loaded) & set(HEAVY)
