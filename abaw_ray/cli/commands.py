"""The commands of ``abaw-ray``: name, group, description, and the module that runs it, which is imported only then."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One command; its module has ``main(name, args)``, which may return an exit code."""

    name: str
    """As typed after ``abaw-ray``."""
    group: str
    """Title under which ``abaw-ray --help`` lists it."""
    does: str
    """Description in one line."""
    module: str
    """Dotted name of its module."""


_VIDEOS = "Videos"
_TRAINING = "Training, from videos and images to scores"
_MACHINE = "This machine"
_JOBS = "abaw_ray.cli.jobs"

COMMANDS = (
    Command("analyze", _VIDEOS, "expressions of every person and frame: tables, pages, a summary", "abaw_ray.cli.analyze"),
    Command("faces", _VIDEOS, "find, track and crop the faces of videos", _JOBS),
    Command("pipeline", _TRAINING, "all stages below but search, then the report", _JOBS),
    Command("train", _TRAINING, "Stage I: train the encoder on still images", _JOBS),
    Command("search", _TRAINING, "search Stage I's learning rate, layer decay and augmentation on a subset", _JOBS),
    Command("features", _TRAINING, "one visual and one speech vector per frame", _JOBS),
    Command("sweep", _TRAINING, "Stage II: trials, smoothing and the final fusion models", _JOBS),
    Command("predict", _TRAINING, "predictions, scores and the submission", _JOBS),
    Command("ablation", _TRAINING, "the method without one part after the other, over several seeds: one table", _JOBS),
    Command("report", _TRAINING, "write report.html and the scores of a finished run again", _JOBS),
    Command("runs", _TRAINING, "list the runs in a storage, show one, compare two: scores, settings, machine hours", "abaw_ray.cli.runs"),
    Command("models", "Models", "import a public classifier, show a model, copy one", "abaw_ray.cli.models"),
    Command("doctor", _MACHINE, "check versions, memory, disks, GPU, codecs and weights", "abaw_ray.cli.doctor.run"),
)
"""All commands, in the order of the help."""
