"""The section of the report on the training of the encoder: charts of the epochs, scores by data set, use of the experts."""

from typing import Any

import numpy as np

from abaw_ray.report.charts import STYLES, Chart, Series, line_chart
from abaw_ray.report.inputs import EncoderTraining, ExpertUse


def encoder_section(training: EncoderTraining | None) -> dict[str, Any] | None:
    """Values of the template; None where nothing was trained."""
    if training is None or not training.epochs:
        return None
    return {
        "charts": _charts(training),
        "selected_epoch": training.selected_epoch,
        "select": training.select,
        "epochs": len(training.epochs),
        "data_sets": training.data_sets,
        "has_probe": any(score.probe_macro_f1 is not None for score in training.data_sets),
        "experts": _expert_rows(training.experts) if training.experts else None,
        "fold_encoders": training.fold_encoders,
    }


def _charts(training: EncoderTraining) -> list[Chart]:
    """The charts that have a finite point: loss, and macro-F1 by data set."""
    epochs = np.array([epoch.epoch for epoch in training.epochs], float)
    names = list(dict.fromkeys(name for epoch in training.epochs for name in epoch.macro_f1))
    loss = Series(name="Training loss", x=epochs, y=np.array([epoch.loss for epoch in training.epochs], float))
    scores = [
        Series(
            name=name,
            x=epochs,
            y=np.array([epoch.macro_f1.get(name, np.nan) for epoch in training.epochs], float),
            style=STYLES[number % len(STYLES)],
        )
        for number, name in enumerate(names)
    ]
    line = (float(training.selected_epoch), f"used: epoch {training.selected_epoch}") if training.selected_epoch else None
    charts = [
        line_chart("Training loss", [loss], x_label="epoch", y_label="loss", integer_x=True),
        line_chart("Macro-F1 on validation images", scores, x_label="epoch", y_label="macro-F1", integer_x=True, vertical_line=line),
    ]
    return [chart for chart in charts if chart is not None]


def _expert_rows(experts: ExpertUse) -> list[tuple[str, list[float]]]:
    """Name and fractions of all images, then of each class."""
    rows = zip(experts.classes, experts.per_class.tolist(), strict=True)
    return [("all classes", experts.total.tolist()), *rows]
