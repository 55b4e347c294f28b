"""The commands that run stages: their settings, help pages and stages."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

from abaw_ray.cli.arguments import CommandLine, parse
from abaw_ray.cli.commands import COMMANDS
from abaw_ray.cli.help import Page
from abaw_ray.cli.job import Job, load_ablation, load_pipeline, load_report, load_stages
from abaw_ray.cli.options import options_of
from abaw_ray.cluster.engine.run import RunConfig
from abaw_ray.cluster.launch.command import run_command
from abaw_ray.cluster.launch.config import DataRunConfig, EncoderJob, FacesJob, FeaturesJob, PipelineConfig, SweepJob
from abaw_ray.cluster.launch.presets import PAPER, ablation_presets, presets_of, search_presets
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig


def main(name: str, args: list[str]) -> NoReturn:
    """Run the command of this name with these arguments, and end the process with its exit code."""
    run_command(name, lambda: settings_of(name, args), JOBS[name].load)


def settings_of(name: str, args: list[str]) -> RunConfig:
    """The settings that the arguments of a command select.

    Raises:
        ConfigError: the command line is not valid; in one line.
        SystemExit: with 0, after ``--help`` and ``--help-all``.
    """
    job, config = JOBS[name], parse(command_line(name), args)
    data = config.data if job.takes_videos and job.default is not None and isinstance(config, DataRunConfig) else None
    if data and not (data.videos or data.affwild2 or data.use_synthetic):
        where = f"abaw-ray {name}"
        raise ConfigError(f"{where}: no videos are given; name a video, a folder, a glob or a list: {where} clip.mp4 -o out")
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
        everyday=("storage.uri", *job.everyday, *job.common),
        notes=job.notes,
    )
    others = partial(_commands_by_option, name)
    return CommandLine(page=page, presets=job.presets, default=job.default, takes_videos=job.takes_videos, elsewhere=others)


def _commands_by_option(but: str) -> Mapping[str, list[str]]:
    """Name of an option -> the other commands that have it."""
    commands: dict[str, list[str]] = {}
    for name in (entry.name for entry in COMMANDS if entry.name in JOBS and entry.name != but):
        for option in options_of(JOBS[name].settings).values():
            for spelling in option.names:
                commands.setdefault(spelling, []).append(name)
    return commands


_VIDEO = "VIDEO is a video, a folder, a glob or a list (.txt, .csv, .parquet), here or at s3:// or gs://; several may be given."
_PRESET = "PRESET sets all options; single ones then change it."
_SAME = "The command finds the results of earlier commands by their settings: give it the same preset and the same options."

_FACES_TEXTS = {
    "paper": "The paper's settings, as without a preset, for the Aff-Wild2 tree in data/affwild2; results in runs/paper.",
    "demo": "The settings of the demo and its synthetic videos; results in runs/demo.",
    "smoke": "The same with fewer videos; results in runs/smoke.",
}
_FACES_PRESETS = {name: (_FACES_TEXTS[name], settings) for name, (_, settings) in presets_of(FacesJob).items()}

JOBS = {
    "faces": Job(
        presets=_FACES_PRESETS,
        load=load_stages("faces.PREPARE_FACES"),
        does="Find, track and crop the faces of videos: one Parquet file per video, with one row per frame and person.",
        examples=(
            "clip.mp4 -o out",
            "videos/ --detector haar --plan",
            "s3://your-bucket/videos -o s3://your-bucket/results --cluster-size cpu-16",
        ),
        everyday=(
            "faces.detector.kind",
            "faces.detector.weights",
            "faces.people.weights",
            "faces.detector.boxes",
            "faces.detector.min-score",
            "faces.tracks.search-interval-s",
            "faces.tracks.max-people",
            "faces.chips.keep",
        ),
        default=replace(FacesJob(faces=PAPER.faces), storage=StorageConfig(uri="runs/faces")),
        takes_videos=True,
        notes=(_VIDEO,),
    ),
    "train": Job(
        presets=presets_of(EncoderJob),
        load=load_stages("stage_one.images.INGEST_IMAGES", "stage_one.encoder.TRAIN_ENCODER"),
        does="Stage I: train the encoder with its mixture-of-experts head on still images.",
        examples=("smoke --encoder.optim.lr 3e-4", "paper --data.affectnet /data/affectnet --data.rafdb /data/rafdb --plan"),
        everyday=(
            "data.affectnet",
            "data.rafdb",
            "data.image-folders",
            "faces.detector.weights",
            "encoder.model.name",
            "encoder.model.weights",
            "encoder.epochs",
            "encoder.optim.lr",
            "encoder.global-batch-size",
        ),
        notes=(_PRESET,),
    ),
    "search": Job(
        presets=search_presets(),
        load=load_stages("stage_one.images.INGEST_IMAGES", "stage_one.search.SEARCH_ENCODER"),
        does="Stage I: search learning rate, layer-wise decay and augmentation strength on a subset of the images; prints the options of the best.",
        examples=("smoke", "paper --data.affectnet /data/affectnet --data.rafdb /data/rafdb --search.trials 32 --cluster-size gpu-1x8"),
        everyday=(
            "data.affectnet",
            "data.rafdb",
            "encoder.model.weights",
            "search.trials",
            "search.images",
            "search.epochs",
            "search.space.lr",
            "search.space.layer-decay",
            "search.space.strength",
        ),
        notes=(_PRESET,),
    ),
    "features": Job(
        presets=presets_of(FeaturesJob),
        load=load_stages("features.EXTRACT_FEATURES"),
        does="Extract one visual and one speech vector per frame from the faces and the audio of videos.",
        examples=("smoke", "paper --data.affwild2 /data/affwild2 --features.speech.window-s 1.5"),
        everyday=(
            "data.affwild2",
            "faces.detector.weights",
            "encoder.model.weights",
            "encoder.path",
            "features.visual.scales",
            "features.speech.weights",
            "features.speech.window-s",
            "features.speech.mode",
        ),
        takes_videos=True,
        notes=(_PRESET, _VIDEO, _SAME),
    ),
    "sweep": Job(
        presets=presets_of(SweepJob),
        load=load_stages(
            "stage_one.annotated_images.PREPARE_ANNOTATED_IMAGES",
            "stage_one.fold_encoders.TRAIN_FOLD_ENCODERS",
            "fold_features.EXTRACT_FOLD_FEATURES",
            "stage_two.fusion.SWEEP_FUSION",
        ),
        does="Stage II: search the settings of the fusion model and of the smoothing over folds, then train the final models.",
        examples=("smoke --trials 4", "paper --data.affwild2 /data/affwild2 --trials 64"),
        everyday=(
            "data.affwild2",
            "sweep.trials",
            "sweep.folds",
            "sweep.fusion.epochs",
            "sweep.fusion.optim.lr",
            "sweep.seed",
            "fold-encoders.epochs",
        ),
        notes=(_PRESET, _SAME),
    ),
    "predict": Job(
        presets=presets_of(SweepJob),
        load=load_stages("stage_two.predictions.PREDICT"),
        does="Predict the expression of every frame of the annotated videos and of the test release; compute scores and the submission.",
        examples=("smoke", "paper --data.affwild2 /data/affwild2 --trials 64"),
        everyday=("data.affwild2", "data.test-names", "data.test-example", "sweep.trials"),
        notes=(_PRESET, _SAME),
    ),
    "pipeline": Job(
        presets=presets_of(PipelineConfig),
        load=load_pipeline,
        does="Run all stages, from videos and still images to scores and report.html; what is already done is skipped.",
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
            "encoder.path",
            "encoder.optim.lr",
            "features.speech.weights",
            "sweep.trials",
        ),
        notes=(_PRESET,),
    ),
    "ablation": Job(
        presets=ablation_presets(),
        load=load_ablation,
        does="Run all stages with several seeds, as they are and without one part of the method after the other: one table of differences.",
        examples=(
            "demo --parts gate smoothing",
            "smoke --seeds 0 1 --plan",
            "paper --data.affwild2 /data/affwild2 --data.affectnet /data/affectnet --data.rafdb /data/rafdb",
        ),
        everyday=(
            "ablation.parts",
            "ablation.seeds",
            "data.affwild2",
            "data.affectnet",
            "data.rafdb",
            "faces.detector.weights",
            "encoder.model.weights",
            "features.speech.weights",
            "sweep.trials",
        ),
        notes=(_PRESET, "Stages that a part does not touch are computed once; an interrupted command continues."),
    ),
    "report": Job(
        presets=presets_of(PipelineConfig),
        load=load_report,
        does="Write report.html and the scores of a finished run again; no stage runs.",
        examples=("demo", "paper --data.affwild2 /data/affwild2 --trials 64 -o s3://your-bucket/results/runs"),
        everyday=(
            "data.affwild2",
            "data.affectnet",
            "data.rafdb",
            "encoder.model.weights",
            "encoder.optim.lr",
            "features.speech.weights",
            "sweep.trials",
        ),
        common=("storage.endpoint", "plan"),
        notes=(_PRESET, _SAME),
    ),
}
"""Name of a command -> its job."""
