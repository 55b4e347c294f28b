"""The model card of a trained encoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import ModelCardData

from abaw_ray.core.licenses import RESEARCH_LICENSE, SYNTHETIC_LICENSE
from abaw_ray.core.model_card import TAGS, macro_f1_results, render_model_card
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.encoder.images import ImageSet

_TEMPLATE = Path(__file__).parent / "card.md"
_TASK = "image-feature-extraction"


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Number of images of a data set, for the card."""

    source: str
    train: int
    val: int


def training_data(images: ImageSet) -> list[TrainingData]:
    """Number of images by data set and split."""
    return [
        TrainingData(source=source, train=int(np.sum(rows & (images.split == "train"))), val=int(np.sum(rows & (images.split == "val"))))
        for source in sorted(set(images.source))
        for rows in [images.source == source]
    ]


def render_encoder_card(
    config: EncoderConfig,
    data: list[TrainingData],
    epoch: Mapping[str, Any],
    probe: Mapping[str, Any] | None,
    *,
    dim: int,
    selected_by_score: bool,
    is_synthetic: bool,
) -> str:
    """The text of the card.

    Args:
        config: Settings of the training.
        data: The images.
        epoch: Metrics of the epoch whose encoder it is.
        probe: Scores of the linear probe of this encoder; None where there are none.
        dim: Width of the encoder's vectors.
        selected_by_score: Whether the epoch was selected by these scores.
        is_synthetic: Whether the images are generated.
    """
    license_ = SYNTHETIC_LICENSE if is_synthetic else RESEARCH_LICENSE
    front_matter = ModelCardData(
        license=license_.id,
        license_name="research-only" if license_.id == "other" else None,
        library_name="timm",
        pipeline_tag=_TASK,
        tags=TAGS,
        model_name=f"{config.model.name} for facial expressions",
        eval_results=macro_f1_results(
            ((name, scores["macro_f1"]) for name, scores in epoch["data_sets"].items()), "image-classification", "Facial expression recognition"
        ),
    )
    return render_model_card(
        _TEMPLATE,
        front_matter,
        config=config,
        data=data,
        epoch=epoch,
        probe=probe,
        dim=dim,
        selected_by_score=selected_by_score,
        is_synthetic=is_synthetic,
        license=license_,
    )
