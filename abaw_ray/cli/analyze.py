"""``abaw-ray analyze``: any videos to tables and pages."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

from abaw_ray.cli.arguments import CommandLine, parse
from abaw_ray.cli.help import Page
from abaw_ray.cluster.engine.run import Policy, Run
from abaw_ray.cluster.launch.command import OutputMode, run_command
from abaw_ray.cluster.launch.config import AnalyzeConfig
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.predict.config import cache_config

LINE = CommandLine(
    page=Page(
        command="abaw-ray analyze",
        does="Predict the expression of every person in every frame of videos and images: one table and one page per video, and a summary.",
        arguments="VIDEO ... --model MODEL [-o OUT] [options]",
        examples=(
            "abaw-ray analyze clip.mp4 --model runs/demo/model -o out",
            "abaw-ray analyze videos/ --model runs/demo/model --people main --fps 5 --format csv,parquet",
            "abaw-ray analyze s3://your-bucket/videos --model s3://your-bucket/model -o s3://your-bucket/results/out --cluster-size gpu-1x4",
        ),
        everyday=(
            "model",
            "storage.uri",
            "faces.detector.weights",
            "faces.detector.kind",
            "faces.detector.min-score",
            "faces.people.weights",
            "outputs.format",
            "outputs.report",
            "outputs.embed",
            "outputs.overlay",
            "analysis.people",
            "analysis.fps",
            "analysis.start",
            "analysis.end",
            "device.device",
            "limit",
            "keep-chips",
            "quiet",
            "json",
            "cluster-size",
            "policy.retry-failures",
            "plan",
        ),
        notes=("VIDEO is a video, an image, a folder, a glob or a list (.txt, .csv, .parquet), here or at s3:// or gs://; several may be given.",),
    ),
    default=AnalyzeConfig(storage=StorageConfig(uri="analysis"), policy=Policy(max_failures=1.0)),
    takes_videos=True,
)
"""Its arguments."""


def main(name: str, args: list[str]) -> NoReturn:
    """Run the command with these arguments, and end the process with its exit code."""
    run_command(name, lambda: settings_of(args), _load, output_mode(args))


def output_mode(args: list[str]) -> OutputMode:
    """What the command prints. Read before the arguments are parsed, because it also applies to an error in them."""
    return "json" if "--json" in args else "quiet" if "--quiet" in args else "text"


def settings_of(args: list[str]) -> AnalyzeConfig:
    """The settings that the arguments select; results are stored in the cache below the output folder.

    Raises:
        ConfigError: the command line is not valid, or names no video; in one line.
        SystemExit: with 0, after ``--help`` and ``--help-all``.
    """
    config = parse(LINE, args)
    if not config.data.videos:
        raise ConfigError("abaw-ray analyze: no videos are given; name a video, a folder, a glob or a list: abaw-ray analyze clip.mp4 --model MODEL")
    return replace(config, storage=cache_config(config.storage))


def _load() -> Callable[[Run[Any]], object]:
    from abaw_ray.cluster.launch.analysis import run_analysis

    return run_analysis
