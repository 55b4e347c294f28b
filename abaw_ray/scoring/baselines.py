"""What a score is worth: logistic regression on plain numbers, and guessing.

Used on chips' raw pixels and on pitch and energy, to show that a data set is not a code to be read off, and to say what chance is.
"""

import warnings

import numpy as np
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from abaw_ray.scoring.metrics import confusion, macro_f1

_ITERATIONS = 200
_GUESSES = 20


def logistic_macro_f1(
    train_x: Float[np.ndarray, "train features"],
    train_y: Int[np.ndarray, " train"],
    test_x: Float[np.ndarray, "test features"],
    test_y: Int[np.ndarray, " test"],
    seed: int,
) -> float:
    """Macro-F1 of a logistic regression with balanced classes on standardised features.

    Args:
        train_x: Finite numbers, any scale.
        train_y: 0..7; rows with -1 are left out. At least two classes.
        test_x: The same numbers of people who are not in training.
        test_y: 0..7; rows with -1 do not count.
        seed: Of the solver.

    Raises:
        ValueError: fewer than two classes in training, or numbers that are not finite.

    Source: ours; the solver (L-BFGS) stops after 200 steps, converged or not.
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_ITERATIONS, class_weight="balanced", random_state=seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train_x[train_y >= 0], train_y[train_y >= 0])
    return macro_f1(confusion(test_y, model.predict(test_x).astype(np.int64)))


def chance_macro_f1(train_y: Int[np.ndarray, " train"], test_y: Int[np.ndarray, " test"], seed: int) -> float:
    """Mean macro-F1 of guessing each frame with the class frequencies of training, over 20 seeded guesses; labels -1 are left out."""
    rng = np.random.default_rng(seed)
    known = train_y[train_y >= 0]
    return float(np.mean([macro_f1(confusion(test_y, rng.choice(known, size=len(test_y)))) for _ in range(_GUESSES)]))
