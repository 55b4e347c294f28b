"""How results were made: versions of packages, a digest of this package's code, and its git revision."""

import hashlib
import importlib.metadata
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parents[2]
"""Folder of this package."""
_PACKAGES = ("ray", "torch", "transformers", "timm", "deepspeed", "av", "pyarrow", "scikit-learn", "opencv-python-headless", "numpy")


@cache
def versions() -> dict[str, str]:
    """The versions of the packages that affect results."""
    installed: dict[str, str] = dict.fromkeys(_PACKAGES, "not installed")
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            installed[name] = importlib.metadata.version(name)
    return installed


@cache
def code_digest() -> str:
    """Hash of this package's files: identifies the code that ran, with or without git."""
    root, total = _PACKAGE, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        total.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return total.hexdigest()[:16]


@cache
def git_revision() -> str:
    """The git revision of the checkout; empty outside a checkout."""
    command = ["git", "-C", str(_PACKAGE.parent), "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip()
