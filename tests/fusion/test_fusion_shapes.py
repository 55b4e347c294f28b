"""The import hook of ``tests/conftest.py`` checks every annotated shape of ``fusion`` and ``predict``; here a wrong shape must fail."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from abaw_ray.fusion.checkpoint import logits_table
from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.model import GatedFusion
from abaw_ray.predict.subjects import predict_subjects
from abaw_ray.scoring.postprocessing import Postprocessing

ROWS, LOGITS, GATE, FOLD = np.arange(5), np.zeros((5, 8)), np.zeros(5), np.zeros(5, int)


@pytest.mark.parametrize(
    "call",
    [
        lambda frames: replace(frames, seen=frames.seen[1:]),
        lambda frames: replace(frames, visual=frames.visual.astype(np.float32)),
        lambda frames: logits_table(frames, ROWS, LOGITS[:, :7], GATE, FOLD),
        lambda frames: logits_table(frames, ROWS, LOGITS, GATE[1:], FOLD),
        lambda frames: predict_subjects(frames, ROWS, LOGITS[1:], GATE, Postprocessing()),
        lambda frames: GatedFusion(4, 4, FusionConfig())(torch.zeros(3, 4), torch.zeros(3, 4), torch.ones(3), torch.ones(3).bool()),
        lambda frames: GatedFusion(4, 4, FusionConfig())(torch.zeros(3, 4), torch.zeros(2, 4), torch.ones(3).bool(), torch.ones(3).bool()),
    ],
)
def test_an_array_of_another_shape_is_rejected(frames, call):
    with pytest.raises(TypeCheckError):
        call(frames)
