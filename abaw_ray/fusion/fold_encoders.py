"""The protocol ``cv`` with one encoder per fold: every fold has features of its own, of an encoder that has not seen the recordings it holds out."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.ensemble import average_outputs
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.leakage import ProtocolError, check_same_rows
from abaw_ray.fusion.protocols import FoldScores, TrialResult, check_cv_folds, score_new_subjects
from abaw_ray.fusion.train import DeviceFrames, TrainedFusion


def run_cv_by_encoder(
    frames_of: Callable[[int], Frames], folds: Mapping[str, int], config: FusionConfig, *, device: str | None = None
) -> tuple[Frames, TrialResult]:
    """The models of ``cv`` where every fold has features of its own encoder, and their out-of-fold scores.

    Args:
        frames_of: Fold -> the frames with the features of its encoder; called once per fold, and one set is in memory at a time.
        folds: As in ``run_trial``.
        config: Settings of the trial.
        device: As in ``train_fusion``.

    Returns:
        The frames without their vectors, and the scores.

    Raises:
        ProtocolError: an encoder was trained on a recording that its fold holds out, or does not say on whom; the sets have different rows; otherwise
            as in ``run_cv``.
    """
    scores: FoldScores | None = None
    for fold in sorted(set(folds.values())):
        scores = _run_with_own_encoder(scores, frames_of(fold), folds, fold, config, device)
    if scores is None:
        raise ProtocolError("cv: there are no folds")
    return scores.frames, scores.result()


def _run_with_own_encoder(
    scores: FoldScores | None, frames: Frames, folds: Mapping[str, int], fold: int, config: FusionConfig, device: str | None
) -> FoldScores:
    """Run one fold; the frames are released on return."""
    check_cv_folds(frames, folds)
    if not frames.encoder_train_subjects:
        raise ProtocolError(f"cv: the features of fold {fold} do not state whose face crops trained their encoder; extract them again")
    scores = scores or FoldScores(frames.without_vectors(), folds, config)
    check_same_rows(scores.frames, frames)
    scores.run(DeviceFrames(frames, device), fold)
    return scores


def score_ensemble_by_encoder(
    models: Sequence[TrainedFusion], frames_of: Callable[[int], Frames], *, device: str | None = None
) -> tuple[Frames, Int[np.ndarray, " rows"], Float[np.ndarray, "rows 8"], Float[np.ndarray, " rows"]]:
    """Ensemble scores of the test release where every model has features of its own encoder.

    Args:
        models: The models of the folds, ascending.
        frames_of: Fold -> the frames with the features of its encoder, as in ``run_cv_by_encoder``.
        device: As in ``train_fusion``.

    Returns:
        The frames without their vectors, and the scores as of ``score_ensemble``.

    Raises:
        ProtocolError: as ``score_ensemble``; or the sets have different rows.
    """
    common, outputs = None, []
    for fold, trained in enumerate(models):
        data = DeviceFrames(frames_of(fold), device)
        common = common or data.frames.without_vectors()
        check_same_rows(common, data.frames)
        outputs.append(score_new_subjects(trained, data, common.subject_names("test")))
        del data  # before the next set is read
    if common is None:
        raise ProtocolError("test: there is no model")
    return common, common.rows_of_subjects(common.subject_names("test")), *average_outputs(outputs)
