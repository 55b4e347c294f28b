"""Frame-level facial expression recognition in unconstrained videos, on one laptop or a Ray cluster.

    import abaw_ray as ar
    result = ar.analyze("clip.mp4", model="runs/demo/model")
    result.to_pandas()

The names below are the public interface; each is imported on first use, so importing the package is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from abaw_ray.core.errors import AbawError
    from abaw_ray.core.expressions import EXPRESSIONS
    from abaw_ray.core.storage.filesystems import StorageConfig
    from abaw_ray.features.config import DeviceConfig
    from abaw_ray.predict.analysis import Analysis, read_analysis
    from abaw_ray.predict.analyzer import Analyzer, analyze
    from abaw_ray.predict.batches import BatchAnalyzer
    from abaw_ray.predict.config import AnalysisConfig, DetectorChoice
    from abaw_ray.predict.output.summary import list_episodes, summarize

_MODULES = {
    "AbawError": "core.errors",
    "Analysis": "predict.analysis",
    "AnalysisConfig": "predict.config",
    "Analyzer": "predict.analyzer",
    "BatchAnalyzer": "predict.batches",
    "DetectorChoice": "predict.config",
    "DeviceConfig": "features.config",
    "EXPRESSIONS": "core.expressions",
    "StorageConfig": "core.storage.filesystems",
    "analyze": "predict.analyzer",
    "list_episodes": "predict.output.summary",
    "read_analysis": "predict.analysis",
    "summarize": "predict.output.summary",
}
"""Public name -> the module that defines it."""

__all__ = [
    "EXPRESSIONS",
    "AbawError",
    "Analysis",
    "AnalysisConfig",
    "Analyzer",
    "BatchAnalyzer",
    "DetectorChoice",
    "DeviceConfig",
    "StorageConfig",
    "analyze",
    "list_episodes",
    "read_analysis",
    "summarize",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'abaw_ray' has no attribute '{name}'; its public names are {', '.join(sorted(_MODULES))}")
    return getattr(importlib.import_module(f"abaw_ray.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
