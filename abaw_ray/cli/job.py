"""A command that runs stages: its help texts, its settings, and the import of its stages, which ``--help`` and a wrong option do not need."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from abaw_ray.cluster.engine.run import Run, RunConfig

Load = Callable[[], Callable[[Run[Any]], object]]
"""Imports the stages and returns the function that runs them."""


_COMMON = ("storage.endpoint", "cluster-size", "policy.max-failures", "policy.retry-failures", "plan")
"""Last options of the everyday page of most jobs."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One command that runs stages."""

    load: Load
    """Its work."""
    presets: Mapping[str, tuple[str, RunConfig]]
    """Name -> description and settings; empty where it has none."""
    default: RunConfig | None = None
    """Settings without a preset; None where one must be given."""
    takes_videos: bool = False
    """Whether it takes videos as words."""
    does: str
    """What it does, for its help page."""
    examples: tuple[str, ...]
    """Command lines for its help page, without ``abaw-ray`` and the name."""
    notes: tuple[str, ...] = ()
    """Further paragraphs of its help page."""
    everyday: tuple[str, ...]
    """Full names of its own options on the everyday page, after ``storage.uri`` and before those of most jobs."""
    common: tuple[str, ...] = _COMMON
    """Last options of the everyday page."""

    @property
    def settings(self) -> RunConfig:
        """Settings without a preset, else those of the first preset."""
        return self.default if self.default is not None else next(iter(self.presets.values()))[1]


def load_stages(*paths: str) -> Load:
    """The work of a command that completes these stages, each given by its path below ``cluster.stages``: ``faces.PREPARE_FACES``."""

    def load() -> Callable[[Run[Any]], object]:
        from abaw_ray.cluster.launch.job import plan_or_run

        names = [path.rsplit(".", 1) for path in paths]
        return partial(plan_or_run, stages=[getattr(importlib.import_module(f"abaw_ray.cluster.stages.{module}"), name) for module, name in names])

    return load


def load_pipeline() -> Callable[[Run[Any]], object]:
    """The work of the command that completes all stages and then writes the report."""
    from abaw_ray.cluster.launch import pipeline  # imports every model, which other commands, --help and a wrong option do not need
    from abaw_ray.cluster.launch.job import plan_or_run

    return partial(plan_or_run, stages=pipeline.STAGES, finish=pipeline.finish)


def load_ablation() -> Callable[[Run[Any]], object]:
    """The work of the command that runs the pipeline without one part after the other."""
    from abaw_ray.cluster.launch.ablation.ablate import ablate  # as above

    return ablate


def load_report() -> Callable[[Run[Any]], object]:
    """The work of the command that writes the report of a finished run again."""
    from abaw_ray.cluster.launch import pipeline  # as above
    from abaw_ray.cluster.launch.job import report_again

    return partial(report_again, stages=pipeline.STAGES, finish=pipeline.finish)
