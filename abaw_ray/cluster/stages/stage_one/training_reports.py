"""Reports of a training -> lines for the terminal, and curves of the run."""

from typing import Any

from abaw_ray.cluster.metrics.run_events import RunEvents
from abaw_ray.core.progress import clock_text, echo

_STEP_CURVES = ("loss", "learning_rate", "grad_norm", "images_per_second", "data_wait_s", "gpu_memory_gib")


def scores_text(data_sets: dict[str, dict[str, float]]) -> str:
    """Macro-F1 by validation set."""
    return "macro-F1 " + ", ".join(f"{name} {scores['macro_f1']:.3f}" for name, scores in data_sets.items())


class TrainingReports:
    """Receives the reports of one training (``on_report`` of ``train_encoder``)."""

    def __init__(self, name: str, events: RunEvents) -> None:
        """Receive nothing yet.

        Args:
            name: Name of the training, for lines and curves.
            events: The curves of the run.
        """
        self._name, self._events = name, events

    def __call__(self, report: dict[str, Any]) -> None:
        """Print the report's line, and add its figures to the curves."""
        skipped = [report["skipped"]] if "skipped" in report else []
        for line in (*skipped, *report_lines(report)):
            echo(f"  {self._name}: {line}")
        self._add_to_curves(report)

    def _add_to_curves(self, report: dict[str, Any]) -> None:
        if "epoch" in report:
            from abaw_ray.encoder.evaluation.metrics import scalars_of  # imports PyTorch

            self._events.add(self._name, scalars_of(report) | {"train/epoch_loss": report["loss"]}, report["steps"])
        elif "loss" in report:
            scalars = {f"train/{name}": report[name] for name in _STEP_CURVES if report[name] is not None}
            self._events.add(self._name, scalars, report["step"])


def report_lines(report: dict[str, Any]) -> list[str]:
    """The lines for one report: of an epoch, of some steps, or of a checkpoint within an epoch."""
    if "epoch" in report:
        notes = [report["not_compiled"]] if "not_compiled" in report and report["epoch"] == 1 else []
        done, rate = f"epoch {report['epoch']} of {report['epochs']}", f"{report['images_per_second']:,.0f} images/s"
        return [*notes, f"{done}, loss {report['loss']:.3f}, {scores_text(report['data_sets'])}, {rate}"]
    step = f"step {report['step']:,} of {report['total_steps']:,}"
    if "loss" in report:
        rates = f"learning rate {report['learning_rate']:.2g}, {_rate_text(report['images_per_second'])} images/s"
        left = f", {clock_text(report['seconds_left'])} left" if report["step"] < report["total_steps"] else ""
        return [f"{step}, loss {report['loss']:.3f}, {rates}{left}"]
    if nodes := report["preempted_nodes"]:
        machines = "a machine is" if nodes == 1 else f"{nodes} machines are"
        return [f"{machines} being preempted; a checkpoint was written after {step}, the training continues on others"]
    return [f"a checkpoint was written after {step}"]


def _rate_text(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
