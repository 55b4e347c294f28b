"""``abaw-ray runs``: lists the runs in a storage, shows one, compares two."""

import json
from dataclasses import dataclass, field

from abaw_ray.cli.arguments import CommandLine, parse
from abaw_ray.cli.help import Page
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig


@dataclass(frozen=True, kw_only=True)
class RunsConfig:
    """Settings of ``runs``."""

    storage: StorageConfig = field(default_factory=StorageConfig)
    """The store with the results of the runs, as given to their commands."""
    show: str = ""
    """Show one run with its stages, scores and settings: the beginning of its name, or last."""
    compare: tuple[str, ...] = ()
    """Compare two runs: the beginnings of their names, or last. Scores of validation and of the five folds have paired intervals over recordings, if
    both runs scored the same frames."""
    json: bool = False
    """Print the records as JSON."""

    def __post_init__(self) -> None:
        """Refuse other numbers of runs than two."""
        if len(self.compare) not in (0, 2):
            raise ConfigError(f"--compare: {len(self.compare)} runs are given; give two")


LINE = CommandLine(
    page=Page(
        command="abaw-ray runs",
        does="List the runs with results in a storage, with their scores, machine hours and costs; show one, or compare two.",
        arguments="STORAGE [options]",
        examples=(
            "abaw-ray runs runs/demo",
            "abaw-ray runs s3://bucket/runs --show last",
            "abaw-ray runs runs/demo --compare 20261129-101500 last",
        ),
        everyday=("storage.uri", "show", "compare", "json", "storage.endpoint"),
        notes=("A run that was killed stays running in the list.", "Costs need prices in the cluster file (provider.prices) of the run."),
    ),
    default=RunsConfig(),
    word="storage.uri",
)
"""The arguments of the command."""


def main(name: str, args: list[str]) -> int:
    """Run the command; returns the exit code."""
    config = parse(LINE, args)
    from abaw_ray.cluster.launch.run_records.paired import paired_scores
    from abaw_ray.cluster.launch.run_records.record import RUNS_FOLDER, RunFolder, find_run, list_runs
    from abaw_ray.cluster.launch.run_records.text import compare_lines, list_lines, run_lines
    from abaw_ray.core.settings import flatten, to_plain
    from abaw_ray.core.storage.storage import Storage
    from abaw_ray.predict.config import cache_config

    storage = Storage(config.storage)
    if not storage.files(RUNS_FOLDER, recursive=True):  # of an analysis, the records are in the cache of its output folder
        cache = Storage(cache_config(config.storage))
        storage = cache if cache.files(RUNS_FOLDER, recursive=True) else storage
    runs = [find_run(storage, name) for name in ((config.show,) if config.show else config.compare)] or list_runs(storage)
    settings = [flatten(RunFolder(storage, run.id).settings()) for run in (runs if config.show or config.compare else ())]
    if config.json:
        print(json.dumps([to_plain(run) | {"usd": run.usd} for run in runs], indent=1))
    elif config.show:
        print("\n".join(run_lines(runs[0], settings[0])))
    elif config.compare:
        print("\n".join(compare_lines(runs[0], runs[1], (settings[0], settings[1]), paired_scores(storage, runs[0], runs[1]))))
    else:
        print("\n".join([*list_lines(runs), f"records: {storage.uri(RUNS_FOLDER)}"]) if runs else f"{storage.uri(RUNS_FOLDER)}: no runs")
    return 0
