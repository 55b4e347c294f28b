"""Candidates of a sweep's trials, proposed by Optuna's TPE from the results of earlier trials. ``cluster`` schedules the trials.

The candidates of a trial follow from the settings and from the results of the trials at least ``ahead`` before it, and from nothing else: any
cluster, and a sweep that was interrupted, tries the same ones.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna import create_study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, PartialFixedSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from abaw_ray.core.settings import value_at
from abaw_ray.fusion.config import SearchSpaceConfig, SweepConfig

Overrides = dict[str, Any]
"""Settings of ``FusionConfig`` by dotted path that differ from those of the sweep."""
_SHAPE = ("hidden_dim", "gate", "rows_per_second", "head")
"""Fields of the search space that are settings of the same name, one for each population."""
_RANGES = {
    "dropout": "dropout",
    "modality_dropout": "modality_dropout",
    "lr": "optim.lr",
    "weight_decay": "optim.weight_decay",
    "balancing_power": "loss.balancing_power",
    "label_smoothing": "loss.label_smoothing",
}
"""Fields of the search space -> paths of settings."""
_LOGARITHMIC = ("lr", "weight_decay")


@dataclass(frozen=True)
class CandidateScores:
    """What the proposals read of a candidate."""

    overrides: Overrides
    macro_f1: Sequence[float]
    """By epoch, on held-out frames without smoothing."""
    stopped: bool
    """Whether it was stopped before the last epoch."""


def distributions(space: SearchSpaceConfig) -> dict[str, BaseDistribution]:
    """Optuna's distributions by path of the setting."""
    choices: dict[str, BaseDistribution] = {name: CategoricalDistribution(values) for name in _SHAPE if (values := getattr(space, name))}
    return choices | {path: FloatDistribution(*getattr(space, name), log=name in _LOGARITHMIC) for name, path in _RANGES.items()}


def propose(config: SweepConfig, trial: int, finished: Sequence[Sequence[CandidateScores]]) -> list[Overrides]:
    """The candidates of a trial.

    Args:
        config: Settings of the sweep.
        trial: Its number, from 0.
        finished: Results of trials 0 to ``trial - ahead``, in their order.
    """
    space = distributions(config.search_space)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # multivariate TPE; its results are pinned by the tests
        sampler = TPESampler(
            seed=(config.seed * 1_000_003 + trial) % 2**32, multivariate=True, constant_liar=True, n_startup_trials=2 * config.candidates
        )
        study = _study(config, sampler, finished, space)
        if trial == 0:  # the architecture of the given settings, also where the search space does not have it
            candidates: list[Overrides] = [{}]
            space = space | {name: CategoricalDistribution((value_at(config.fusion, name),)) for name in _SHAPE if name in space}
        else:
            candidates = [study.ask(space).params]
            study.sampler = PartialFixedSampler({name: candidates[0][name] for name in _SHAPE if name in space}, sampler)
        while len(candidates) < config.candidates:
            candidates.append(study.ask(space).params)
    return candidates


def importance(config: SweepConfig, finished: Sequence[Sequence[CandidateScores]]) -> Mapping[str, float]:
    """How much of the difference between good and other candidates each setting explains, by PED-ANOVA (Watanabe et al., 2023); empty with too few
    that were not stopped.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    space = distributions(config.search_space)
    within = [[one for one in results if _lies_within(config, one, space)] for results in finished]
    study = _study(config, TPESampler(seed=config.seed), within, {path: one for path, one in space.items() if not one.single()})
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()) if len({trial.value for trial in complete}) > 3 else {}


def _study(config: SweepConfig, sampler: BaseSampler, finished: Sequence[Sequence[CandidateScores]], space: dict[str, BaseDistribution]) -> Study:
    study = create_study(direction="maximize", sampler=sampler)
    for results in finished:
        study.add_trials([trial for one in results if (trial := _trial(config, one, space)) is not None])
    return study


def _trial(config: SweepConfig, result: CandidateScores, space: dict[str, BaseDistribution]) -> FrozenTrial | None:
    """The result for Optuna; None where settings lie outside of the search space, as those of the sweep itself may."""
    if not _lies_within(config, result, space):
        return None
    params = _values(config, result, space)
    steps = dict(enumerate(map(float, result.macro_f1), 1))
    if result.stopped:
        return create_trial(state=TrialState.PRUNED, params=params, distributions=space, intermediate_values=steps)
    return create_trial(value=max(steps.values()), params=params, distributions=space, intermediate_values=steps)


def _values(config: SweepConfig, result: CandidateScores, space: dict[str, BaseDistribution]) -> dict[str, Any]:
    return {path: result.overrides.get(path, value_at(config.fusion, path)) for path in space}


def _lies_within(config: SweepConfig, result: CandidateScores, space: dict[str, BaseDistribution]) -> bool:
    values = _values(config, result, space)
    return all(_contains(distribution, values[path]) for path, distribution in space.items())


def _contains(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    return isinstance(distribution, FloatDistribution) and distribution.low <= value <= distribution.high
