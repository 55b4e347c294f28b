"""Settings modules import no heavy package, so that ``--help`` and errors in options appear quickly; workers import only those that they need."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "timm", "transformers", "ray", "pandas", "scipy", "matplotlib", "boto3", "cv2", "av", "numba", "llvmlite")
"""Without pyarrow: storage is built on it, and its import takes only 0.03 s beyond numpy's."""
LIGHT = [
    "abaw_ray.training.config",
    "abaw_ray.encoder.config",
    "abaw_ray.encoder.augmentation.config",
    "abaw_ray.encoder.folds.config",
    "abaw_ray.features.config",
    "abaw_ray.media.config",
    "abaw_ray.faces.config",
    "abaw_ray.fusion.config",
    "abaw_ray.scoring.config",
    "abaw_ray.data.config",
    "abaw_ray.cluster.launch.config",
    "abaw_ray.cluster.launch.presets",
    "abaw_ray.cluster.launch.command",
    "abaw_ray.cli.main",
    "abaw_ray.cli.jobs",
    "abaw_ray.cli.doctor.run",
    "abaw_ray.cli.models",
    "abaw_ray.predict.config",
    "abaw_ray.scoring.selection",
    "jobs.pipeline",
]
"""Modules that define settings, and all others that ``--help`` imports."""

WORKERS = {
    "abaw_ray.cluster.stages.faces": ("torch", "timm", "transformers", "sklearn"),
    "abaw_ray.cluster.stages.features": ("torch", "timm", "transformers", "sklearn"),
    "abaw_ray.cluster.stages.stage_two.trials": ("timm", "transformers", "torchaudio", "sklearn"),
    "abaw_ray.cluster.stages.stage_two.predictions": ("timm", "transformers", "torchaudio", "sklearn"),
    "abaw_ray.cluster.training.ranks.rank": ("transformers", "torchaudio", "sklearn"),
    "abaw_ray.cluster.stages.fold_features": ("torch", "timm", "transformers", "sklearn"),
    "abaw_ray.cluster.stages.stage_one.images": ("torch", "timm", "transformers", "sklearn"),
    "abaw_ray.cluster.stages.stage_one.annotated_images": ("torch", "timm", "transformers", "sklearn"),
    "abaw_ray.cluster.stages.stage_two.baselines": ("torch", "timm", "transformers", "sklearn"),
    "abaw_ray.cluster.launch.pipeline": ("timm", "transformers", "torchaudio", "sklearn", "matplotlib"),
}
"""Modules that workers of a stage, or the driver, import -> packages that take a second or so and that they do not need, or only later."""


@pytest.mark.parametrize("module", LIGHT)
def test_a_settings_module_imports_no_heavy_package(module):
    code = f"import sys, {module}; print(*({set(HEAVY)!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("module", WORKERS)
def test_a_worker_imports_no_heavy_package_of_another_stage(module):
    code = f"import sys, {module}; print(*({set(WORKERS[module])!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_address_of_features_is_computed_without_a_model_library():
    code = """
import sys
from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch.presets import SMOKE
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.features import EXTRACT_FEATURES
print(EXTRACT_FEATURES.store(Run(SMOKE, RaySession(SMOKE.compute))).path, *({"torch", "timm", "transformers", "ray"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (path,) = done.stdout.split()
    assert path.startswith("features/")


def test_the_help_of_all_commands_imports_no_installed_package():
    code = "import sys; sys.argv = ['abaw-ray', '--help']; from abaw_ray.cli.main import main\ntry: main()\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "abaw_ray" in loaded and not loaded & {*HEAVY, "numpy", "pyarrow", "rich", "tyro", "yaml"}
