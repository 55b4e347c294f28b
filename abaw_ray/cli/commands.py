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


_JOBS = "abaw_ray.cli.jobs"

COMMANDS = (
    Command("faces", "Videos", "find, track and crop the faces of videos", _JOBS),
    Command("pipeline", "Training, from videos and images to scores", "all stages below, then the report", _JOBS),
    Command("train", "Training, from videos and images to scores", "Stage I: train the encoder on still images", _JOBS),
    Command("features", "Training, from videos and images to scores", "one visual and one speech vector per frame", _JOBS),
    Command("sweep", "Training, from videos and images to scores", "Stage II: trials, smoothing and the final fusion models", _JOBS),
    Command("predict", "Training, from videos and images to scores", "predictions, scores and the submission", _JOBS),
    Command("report", "Training, from videos and images to scores", "write report.html and summary.json of a finished run again", _JOBS),
    Command("models", "Models", "import a public classifier, show a model, copy one", "abaw_ray.cli.models"),
    Command("doctor", "This machine", "check versions, memory, disks, GPU, codecs and weights", "abaw_ray.cli.doctor.run"),
)
"""All commands, in the order of the help."""
