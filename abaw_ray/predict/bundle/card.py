"""The model card of a bundle: ``README.md`` with the front matter of the model hub, so a bundle can be uploaded as it is."""

from pathlib import Path

import jinja2
from huggingface_hub import EvalResult, ModelCardData

from abaw_ray.predict.bundle.metadata import BundleMetadata

_FOLDER = Path(__file__).parent


def render_card(metadata: BundleMetadata) -> str:
    """The text of the card."""
    environment = jinja2.Environment(  # Markdown, not HTML
        loader=jinja2.FileSystemLoader(_FOLDER), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return f"---\n{_front_matter(metadata)}\n---\n\n" + environment.get_template("card.md").render(metadata=metadata)


def _front_matter(metadata: BundleMetadata) -> str:
    results = [
        EvalResult(
            task_type="video-classification",
            task_name="Facial expression recognition per frame",
            dataset_type=name.replace(" ", "_"),
            dataset_name=name,
            metric_type="f1",
            metric_name="macro-F1",
            metric_value=round(float(value), 4),
        )
        for name, value in metadata.scores.items()
    ]
    data = ModelCardData(
        license=metadata.license.id,
        license_name=None if metadata.license.id != "other" else "research-only" if metadata.kind == "audio-visual" else "see-model-card",
        library_name="abaw_ray",
        pipeline_tag="video-classification",
        tags=["facial-expression-recognition", "affective-computing"],
        model_name=metadata.name,
        eval_results=results or None,
    )
    return data.to_yaml()
