"""The commands that run stages: their settings, help pages and stages."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn

from abaw_ray.cli.arguments import CommandLine, parse
from abaw_ray.cli.commands import COMMANDS
from abaw_ray.cli.help import Page
from abaw_ray.cli.options import options_of
from abaw_ray.cluster.engine.run import Run, RunConfig
from abaw_ray.cluster.launch.command import run_command
from abaw_ray.cluster.launch.config import EncoderJob, FacesJob, FeaturesJob, PipelineConfig, SweepJob
from abaw_ray.cluster.launch.presets import PAPER, presets_of
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig

Load = Callable[[], Callable[[Run[Any]], object]]
"""Imports the stages and returns the function that runs them."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One command that runs stages."""

    config: type[RunConfig]
    """Type of its settings."""
    load: Load
    """Its work."""
    does: str
    """What it does, for its help page."""
    examples: tuple[str, ...]
    """Command lines for its help page, without ``abaw-ray`` and the name."""
    everyday: tuple[str, ...]
    """Full names of its own options on the everyday page; those of all jobs surround them."""
    default: RunConfig | None = None
    """Settings without a preset; None where one must be given."""
    takes_videos: bool = False
    """Whether it takes videos as words."""
    notes: tuple[str, ...] = ()
    """Further paragraphs of its help page."""
    presets: tuple[str, ...] = ()
    """Descriptions of its presets, in their order, where those of the whole pipeline do not fit."""


def main(name: str, args: list[str]) -> NoReturn:
    """Run the command of this name with these arguments, and end the process with its exit code."""
    run_command(name, lambda: settings_of(name, args), JOBS[name].load)


def settings_of(name: str, args: list[str]) -> RunConfig:
    """The settings that the arguments of a command select.

    Raises:
        ConfigError: the command line is not valid; in one line.
        SystemExit: with 0, after ``--help`` and ``--help-all``.
    """
    config = parse(command_line(name), args)
    if name == "faces" and isinstance(config, FacesJob) and not (config.data.videos or config.data.affwild2 or config.data.use_synthetic):
        raise ConfigError("abaw-ray faces: no videos are given; name a video, a folder, a glob or a list: abaw-ray faces clip.mp4 -o out")
    return config


def command_line(name: str) -> CommandLine[Any]:
    """The arguments of a command, and its help."""
    job = JOBS[name]
    preset = "" if job.default is not None else "PRESET "
    page = Page(
        command=f"abaw-ray {name}",
        does=job.does,
        arguments=f"{preset}{'[VIDEO ...] ' if job.takes_videos else ''}[options]",
        examples=tuple(f"abaw-ray {name} {example}" for example in job.examples),
        everyday=("storage.uri", *job.everyday, *_EVERYDAY),
        notes=job.notes,
    )
    presets = presets_of(job.config)
    for preset, text in zip(presets, job.presets, strict=False):
        presets[preset] = (text, presets[preset][1])
    return CommandLine(page=page, presets=presets, default=job.default, takes_videos=job.takes_videos, elsewhere=partial(_commands_by_option, name))


def _commands_by_option(but: str) -> Mapping[str, list[str]]:
    """Name of an option -> the other commands that have it."""
    commands: dict[str, list[str]] = {}
    for name in (entry.name for entry in COMMANDS if entry.name in JOBS and entry.name != but):
        for option in options_of(JOBS[name].default or presets_of(JOBS[name].config)["paper"][1]).values():
            for spelling in option.names:
                commands.setdefault(spelling, []).append(name)
    return commands


def _stages(**names: str) -> Load:
    """The work of a command that completes these stages; module below ``cluster.stages`` -> name of the stage."""

    def load() -> Callable[[Run[Any]], object]:
        from abaw_ray.cluster.launch.job import plan_or_run

        modules = {module: importlib.import_module(f"abaw_ray.cluster.stages.{module}") for module in names}
        return partial(plan_or_run, stages=[getattr(modules[module], name) for module, name in names.items()])

    return load


def _pipeline() -> Callable[[Run[Any]], object]:
    from abaw_ray.cluster.launch import pipeline  # imports every model, which other commands, --help and a wrong option do not need
    from abaw_ray.cluster.launch.job import plan_or_run

    return partial(plan_or_run, stages=pipeline.STAGES, finish=pipeline.finish)


def _report() -> Callable[[Run[Any]], object]:
    from abaw_ray.cluster.launch import pipeline  # as above
    from abaw_ray.cluster.launch.job import report_again

    return partial(report_again, stages=pipeline.STAGES, finish=pipeline.finish)


_EVERYDAY = ("storage.endpoint", "cluster-size", "policy.max-failures", "policy.retry-failures", "plan")
"""Last options of the everyday page of every job."""
_VIDEO = "VIDEO is a video, a folder, a glob or a list (.txt, .csv, .parquet), here or at s3:// or gs://; several may be given."
_PRESET = "PRESET sets all options; single ones then change it."
_SAME = "The command finds the results of earlier commands by their settings: give it the same preset and the same options."

JOBS = {
    "faces": Job(
        config=FacesJob,
        load=_stages(faces="PREPARE_FACES"),
        does="Find, track and crop the faces of videos: one Parquet file per video, with one row per frame and person.",
        examples=("clip.mp4 -o out", "videos/ --detector haar --plan", "s3://bucket/videos -o s3://bucket/runs --cluster-size cpu-16"),
        everyday=(
            "faces.detector.kind",
            "faces.detector.weights",
            "faces.detector.boxes",
            "faces.detector.min-score",
            "faces.tracks.search-interval-s",
            "faces.tracks.max-people",
            "faces.chips.keep",
        ),
        default=replace(FacesJob(faces=PAPER.faces), storage=StorageConfig(uri="runs/faces")),
        takes_videos=True,
        notes=(_VIDEO,),
        presets=(
            "The paper's settings, as without a preset, for the Aff-Wild2 tree in data/affwild2; results in runs/paper.",
            "The settings of the demo and its synthetic videos; results in runs/demo.",
            "The same with fewer videos; results in runs/smoke.",
        ),
    ),
    "train": Job(
        config=EncoderJob,
        load=_stages(images="INGEST_IMAGES", encoder="TRAIN_ENCODER"),
        does="Stage I: train the encoder with its mixture-of-experts head on still images.",
        examples=("smoke --encoder.optim.lr 3e-4", "paper --data.affectnet /data/affectnet --data.rafdb /data/rafdb --plan"),
        everyday=(
            "data.affectnet",
            "data.rafdb",
            "encoder.model.name",
            "encoder.model.weights",
            "encoder.epochs",
            "encoder.optim.lr",
            "encoder.global-batch-size",
            "encoder.micro-batch-size",
        ),
        notes=(_PRESET,),
    ),
    "features": Job(
        config=FeaturesJob,
        load=_stages(features="EXTRACT_FEATURES"),
        does="Extract one visual and one speech vector per frame from the faces and the audio of videos.",
        examples=("smoke", "paper --data.affwild2 /data/affwild2 --features.speech.window-s 1.5"),
        everyday=(
            "data.affwild2",
            "faces.detector.weights",
            "encoder.model.weights",
            "features.visual.scales",
            "features.speech.weights",
            "features.speech.window-s",
            "features.speech.mode",
        ),
        takes_videos=True,
        notes=(_PRESET, _VIDEO, _SAME),
    ),
    "sweep": Job(
        config=SweepJob,
        load=_stages(fusion="SWEEP_FUSION"),
        does="Stage II: search the settings of the fusion model and of the smoothing over folds, then train the final models.",
        examples=("smoke --trials 4", "paper --data.affwild2 /data/affwild2 --trials 64"),
        everyday=(
            "data.affwild2",
            "sweep.trials",
            "sweep.folds",
            "sweep.fusion.epochs",
            "sweep.fusion.optim.lr",
            "sweep.seed",
        ),
        notes=(_PRESET, _SAME),
    ),
    "predict": Job(
        config=SweepJob,
        load=_stages(predictions="PREDICT"),
        does="Predict the expression of every frame of the annotated videos and of the test release; compute scores and the submission.",
        examples=("smoke", "paper --data.affwild2 /data/affwild2 --trials 64"),
        everyday=("data.affwild2", "data.test-names", "data.test-example", "sweep.trials"),
        notes=(_PRESET, _SAME),
    ),
    "pipeline": Job(
        config=PipelineConfig,
        load=_pipeline,
        does="Run all stages, from videos and still images to scores, report.html and summary.json; what is already done is skipped.",
        examples=(
            "demo",
            "smoke --trials 4 --plan",
            "paper --data.affwild2 /data/affwild2 --data.affectnet /data/affectnet --data.rafdb /data/rafdb",
        ),
        everyday=(
            "data.affwild2",
            "data.affectnet",
            "data.rafdb",
            "faces.detector.weights",
            "encoder.model.weights",
            "encoder.optim.lr",
            "features.speech.weights",
            "sweep.trials",
        ),
        notes=(_PRESET,),
    ),
    "report": Job(
        config=PipelineConfig,
        load=_report,
        does="Write report.html and summary.json of a finished run again; no stage runs.",
        examples=("demo", "paper --data.affwild2 /data/affwild2 --trials 64 -o s3://bucket/runs"),
        everyday=("data.affwild2", "data.affectnet", "data.rafdb", "encoder.optim.lr", "sweep.trials"),
        notes=(_PRESET, _SAME),
    ),
}
"""Name of a command -> its job."""
