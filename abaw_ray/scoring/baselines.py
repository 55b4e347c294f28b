"""Reference scores: logistic regression on simple features, and guessing by class frequency.

The pipeline applies the regression to raw pixels of face crops and to pitch and energy, as references without learned features.
"""

import warnings

import numpy as np
from jaxtyping import Float, Int

from abaw_ray.scoring.metrics import confusion_matrix, macro_f1

_MAX_ITER = 200
_REPEATS = 20


def logistic_predictions(
    train_x: Float[np.ndarray, "train features"],
    train_y: Int[np.ndarray, " train"],
    test_x: Float[np.ndarray, "test features"],
    seed: int,
) -> Int[np.ndarray, " test"]:
    """Classes, 0..7, predicted by a logistic regression with balanced classes on standardized features.

    Args:
        train_x: Finite features at any scale.
        train_y: 0..7; rows with -1 are ignored. At least two classes.
        test_x: The same features of subjects outside the training set.
        seed: Seed of the solver.

    Raises:
        ValueError: fewer than two classes in training, or a feature is not finite.

    Source: ours; the solver (L-BFGS) stops after 200 iterations, converged or not.
    """
    from sklearn.exceptions import ConvergenceWarning  # only here: the import takes a second, and most callers fit no regression
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_MAX_ITER, class_weight="balanced", random_state=seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train_x[train_y >= 0], train_y[train_y >= 0])
    return model.predict(test_x).astype(np.int64)


def chance_macro_f1(train_y: Int[np.ndarray, " train"], test_y: Int[np.ndarray, " test"], seed: int) -> float:
    """Mean macro-F1 of 20 seeded random predictions, sampled with the class frequencies of the training set; labels -1 are ignored."""
    rng = np.random.default_rng(seed)
    labelled = train_y[train_y >= 0]
    return float(np.mean([macro_f1(confusion_matrix(test_y, rng.choice(labelled, size=len(test_y)))) for _ in range(_REPEATS)]))
