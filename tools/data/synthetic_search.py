"""Stage II on the features of a finished run with synthetic faces, in this process: the search of the sweep, without Ray."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch.ablation.seeds import with_seed
from abaw_ray.cluster.launch.presets import PRESETS
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.annotations import annotated, join
from abaw_ray.cluster.stages.features import EXTRACT_FEATURES
from abaw_ray.data.folds import assign_folds
from abaw_ray.fusion import search
from abaw_ray.fusion.config import SweepConfig
from abaw_ray.fusion.evaluation import protocols
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.proposals import CandidateScores, propose
from abaw_ray.fusion.selected import Selected, select
from abaw_ray.predict.subjects import confusion_matrices, predict_subjects
from abaw_ray.scoring.evaluation import Evaluation
from abaw_ray.scoring.fill import most_frequent_class
from abaw_ray.scoring.postprocessing import Postprocessing


@dataclass(frozen=True)
class SyntheticData:
    """Frames of one seed, and how its sweep divides and searches them."""

    frames: Frames
    labels: Mapping[str, np.ndarray]
    """Labels of the subjects of Train_Set that are searched on, by name."""
    config: SweepConfig

    def folds(self) -> dict[str, int]:
        """Fold of each of these subjects, as the sweep assigns them."""
        return assign_folds(self.labels, folds=self.config.folds, seed=self.config.seed)

    @property
    def default(self) -> int:
        """The most frequent class of these subjects."""
        return most_frequent_class(np.concatenate(list(self.labels.values())))


def read_synthetic_data(seed: int, preset: str = "demo") -> SyntheticData:
    """The data of a finished run of ``tools.data.compare_seeds``, which is read where that tool has written it.

    Raises:
        ConfigError: there is none.
    """
    config = with_seed(PRESETS[preset][1], seed)
    run = Run(config, RaySession(config.compute, config.storage))
    annotations = annotated(run)
    frames, left_out = join(run.storage, sorted(EXTRACT_FEATURES.require(run).outputs.values()), annotations, ("train", "val"))
    train = {name: rows for name, rows in annotations.labels.items() if annotations.splits[name] == "train" and name not in left_out}
    return SyntheticData(frames, train, config.sweep)


def run_search(data: SyntheticData, folds: Mapping[str, int], mode: str = "fused") -> list[dict[str, Any]]:
    """Results of all candidates of a sweep on these folds, with the proposals that the sweep would have on any cluster."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    config, finished, results = data.config, list[list[CandidateScores]](), list[dict[str, Any]]()
    for trial in range(config.trials):
        candidates = propose(config, trial, finished[: max(0, trial - config.ahead + 1)])
        rows = search.run_population(data.frames, folds, config, candidates, mode=mode, default=data.default)
        finished.append(search.candidate_scores(rows))
        results += rows
    return results


def selected_again(data: SyntheticData, folds: Mapping[str, int], changes: Mapping[str, Any], mode: str = "fused") -> Selected:
    """What a sweep selects for one candidate, with its scores by recording: a candidate does not depend on its population."""
    trained = protocols.official_folds(data.frames, folds, [search.candidate_config(data.config, changes, mode)])
    trained.train(data.config.fusion.epochs)
    return select(trained, 0, data.config, default=data.default)


def score_subjects(data: SyntheticData, names: Sequence[str], logits: np.ndarray, gate: np.ndarray, postprocessing: Postprocessing) -> Evaluation:
    """Scores of all frames of these subjects; ``logits`` and ``gate`` are those of their rows, ascending."""
    rows = data.frames.rows_of_subjects(names)
    tracks = predict_subjects(data.frames, rows, logits, gate, postprocessing)
    return Evaluation.of_subjects(confusion_matrices(data.frames, tracks, data.default), [track.subject.recording for track in tracks])
