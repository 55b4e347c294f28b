"""Model cards: a ``README.md`` with the front matter of the model hub, so that a folder with weights can be uploaded as it is."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult, ModelCardData

CARD_FILE = "README.md"
"""Name of a model card."""
TAGS = ["facial-expression-recognition", "affective-computing"]
"""Tags of all models on the model hub."""
_FOLDER = Path(__file__).parent


def render_model_card(template: Path, front_matter: ModelCardData, **values: Any) -> str:
    """The text of a card.

    Args:
        template: File of its Markdown; it can include ``limits.md``, which says what all models are and are not for.
        front_matter: Metadata for the model hub.
        values: Values of the template.
    """
    environment = jinja2.Environment(  # Markdown, not HTML
        loader=jinja2.FileSystemLoader([template.parent, _FOLDER]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return f"---\n{front_matter.to_yaml()}\n---\n\n" + environment.get_template(template.name).render(values)


def macro_f1_results(scores: Iterable[tuple[str, float]], task_type: str, task_name: str) -> list[EvalResult] | None:
    """Macro-F1 by the name of its data set, for the front matter; None without scores."""
    results = [
        EvalResult(
            task_type=task_type,
            task_name=task_name,
            dataset_type=name.replace(" ", "_"),
            dataset_name=name,
            metric_type="f1",
            metric_name="macro-F1",
            metric_value=round(float(value), 4),
        )
        for name, value in scores
    ]
    return results or None
