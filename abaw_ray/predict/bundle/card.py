"""The model card of a bundle."""

from pathlib import Path

from huggingface_hub import ModelCardData

from abaw_ray.core.model_card import TAGS, macro_f1_results, render_model_card
from abaw_ray.predict.bundle.metadata import BundleMetadata

_TEMPLATE = Path(__file__).parent / "card.md"
_TASK = "video-classification"


def render_card(metadata: BundleMetadata) -> str:
    """The text of the card."""
    front_matter = ModelCardData(
        license=metadata.license.id,
        license_name=None if metadata.license.id != "other" else "research-only" if metadata.kind == "audio-visual" else "see-model-card",
        library_name="abaw_ray",
        pipeline_tag=_TASK,
        tags=TAGS,
        model_name=metadata.name,
        eval_results=macro_f1_results(metadata.scores.items(), _TASK, "Facial expression recognition per frame"),
    )
    return render_model_card(_TEMPLATE, front_matter, metadata=metadata)
