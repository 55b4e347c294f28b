"""Linear probe: what the encoder's vectors are worth without the head, by a logistic regression on them.

The head is discarded after Stage I, so a score that only a good head reaches says little about the features of Stage II.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int

from abaw_ray.encoder.evaluation.metrics import count_confusions, scores_of
from abaw_ray.encoder.evaluation.sets import ValidationSet
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.task import EncoderTask

_C = 0.01
"""Inverse strength of the L2 penalty on standardized vectors; ours. Weaker penalties overfit a few thousand images with a thousand dimensions."""
_MAX_ITERATIONS = 1000


def probe_encoder(task: EncoderTask, model: ExpressionModel, rank: int, num_workers: int = 0) -> dict | None:
    """The scores of a linear probe of the model's encoder on rank 0; all ranks call this together, and share the work of encoding.

    Returns:
        As ``linear_probe``; None on other ranks, without a probe in the settings, and where the training images have a single class.
    """
    config, images = task.config, task.images
    if not config.probe_images_per_class or len(np.unique(images.labels[task.train])) < 2:
        return None
    rows = probe_rows(images.labels, task.train, config.probe_images_per_class, config.seed)
    train, val = (task.vectors(model, part, num_workers=num_workers) for part in (rows, task.val))
    if rank:
        return None
    return linear_probe(
        (train, images.labels[rows]), (val, images.labels[task.val]), images.source[task.val], task.validation_sets, len(config.classes)
    )


def probe_rows(labels: Int[np.ndarray, " n"], rows: Int[np.ndarray, " m"], images_per_class: int, seed: int) -> Int[np.ndarray, " k"]:
    """A random sample of these rows with at most ``images_per_class`` of each class, ascending; the same for the same seed."""
    shuffled = np.random.default_rng([seed, images_per_class]).permutation(rows)
    parts = [shuffled[labels[shuffled] == label][:images_per_class] for label in np.unique(labels[rows])]
    return np.sort(np.concatenate(parts))


def linear_probe(
    train: tuple[Float[np.ndarray, "n dim"], Int[np.ndarray, " n"]],
    val: tuple[Float[np.ndarray, "m dim"], Int[np.ndarray, " m"]],
    sources: np.ndarray,
    sets: Sequence[ValidationSet],
    classes: int,
) -> dict:
    """Train a class-balanced logistic regression and score it on the validation sets.

    Args:
        train: Vectors and labels to train on, of two or more classes.
        val: Vectors and labels of the validation images.
        sources: Data sets of the validation images.
        sets: The validation sets.
        classes: Number of the encoder's classes.

    Returns:
        ``data_sets``: scores by validation set; ``train_images``; ``converged``: whether the optimizer ended before its limit of iterations.
    """
    from sklearn.exceptions import ConvergenceWarning  # only here, as the import takes a second of every rank
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = LogisticRegression(C=_C, class_weight="balanced", max_iter=_MAX_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # reported as `converged`
        pipeline = make_pipeline(StandardScaler(), model).fit(*train)
    logits = torch.full((len(val[1]), classes), -torch.inf)
    logits[:, torch.from_numpy(model.classes_)] = torch.from_numpy(pipeline.predict_log_proba(val[0])).float()
    labels = torch.from_numpy(val[1])
    scores = {}
    for each in sets:
        rows = torch.from_numpy(each.rows(sources, val[1]))
        scores[each.name] = scores_of(count_confusions(labels[rows], each.predictions(logits[rows]), classes).double())
    return {"data_sets": scores, "train_images": len(train[1]), "converged": int(model.n_iter_.max()) < _MAX_ITERATIONS}
