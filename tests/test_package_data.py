"""An installed package has every file that its modules read: templates, styles, scripts and texts."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_file_of_the_package_that_is_no_module_is_installed():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    installed = {path for package, globs in patterns.items() for glob in globs for path in (ROOT / package.replace(".", "/")).glob(glob)}
    files = {path for path in (ROOT / "abaw_ray").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert ROOT / "abaw_ray/report/ablation/table.html" in files
    assert files - installed == set()
