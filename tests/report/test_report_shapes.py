"""The import hook of ``tests/conftest.py`` checks every annotated shape of ``report``; here a wrong shape must fail."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from abaw_ray.report.charts import Series
from abaw_ray.report.inputs import ConfusionMatrix, SmoothingCurve, Timeline

ARRAYS = {
    "time": np.arange(3.0),
    "predicted": np.zeros(3, np.int8),
    "probability": np.zeros((3, 8), np.float32),
    "seen": np.ones(3, bool),
    "heard": np.ones(3, bool),
}


@pytest.mark.parametrize(
    "call",
    [
        lambda: Timeline(video="v", track="main", **ARRAYS | {"seen": np.ones(2, bool)}),
        lambda: Timeline(video="v", track="main", **ARRAYS | {"heard": np.ones(3, int)}),
        lambda: Timeline(video="v", track="main", **ARRAYS | {"probability": np.zeros((2, 8), np.float32)}),
        lambda: ConfusionMatrix(name="x", counts=np.zeros((8, 7), int)),
        lambda: SmoothingCurve(window_s=np.zeros(3), score=np.zeros(2), selected_s=1.0),
        lambda: SmoothingCurve(window_s=np.zeros(3), score=np.zeros(3), folds=np.zeros((5, 2)), selected_s=1.0),
        lambda: Series(name="x", x=np.zeros(3), y=np.zeros(2)),
    ],
)
def test_an_array_of_another_shape_is_rejected(call):
    with pytest.raises(TypeCheckError):
        call()
