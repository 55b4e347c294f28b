"""The two ways in which scores may be made, and the guards that keep them apart.

``official``: folds of Train_Set alone choose settings and smoothing; then ONE model, trained on all of Train_Set, scores Validation_Set.
``cv``: folds over train and validation together; each of the five models scores only its own held-out people and, later, people of neither
set. Every model carries whom it has seen, and is refused wherever it would score them. Where a trial runs is ``cluster``'s part.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

from abaw_ray.core.errors import StageError
from abaw_ray.data.subjects import source_of
from abaw_ray.fusion.frames import Frames, Person
from abaw_ray.fusion.model import FusionConfig
from abaw_ray.fusion.train import DeviceFrames, Seen, TrainedFusion, frame_macro_f1, predict_logits, train_fusion
from abaw_ray.scoring.selection import OutOfFold

Report = Callable[[int, float, list[dict[str, int | float]]], None]
"""Told after each fold: its number, its macro-F1 (single frames, not smoothed), its curve."""


class ProtocolError(StageError):
    """A model would score what it, or its encoder, has seen; or the two protocols would be mixed."""


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What one choice of settings reaches: every person scored by the model that did not see their recording."""

    logits: Float[np.ndarray, "n 8"]
    """Of every frame of the given ``Frames``; NaN for people outside of the folds and for frames without a usable vector."""
    gate: Float[np.ndarray, " n"]
    """Weight of the visual vector, NaN likewise."""
    fold: Int[np.ndarray, " n"]
    """The fold that held the frame out; -1 for people outside of the folds."""
    macro_f1: tuple[float, ...]
    """Per fold, ascending; single frames, not smoothed, labelled and scored ones only."""
    curves: tuple[list[dict[str, int | float]], ...]
    models: tuple[TrainedFusion, ...]

    def out_of_fold(self, frames: Frames) -> list[OutOfFold]:
        """The scores person by person, as the choice of smoothing takes them."""
        found = []
        for index, person in enumerate(frames.people):
            rows = np.flatnonzero((frames.person == index) & (self.fold >= 0))
            if len(rows):
                logits = self.logits[rows]
                found.append(
                    OutOfFold(
                        name=person.name,
                        fold=int(self.fold[rows[0]]),
                        logits=logits,
                        time=frames.time[rows],
                        scored=np.isfinite(logits).all(axis=1),
                        labels=frames.labels[rows],
                    )
                )
        return found


def run_official_trial(frames: Frames, folds: Mapping[str, int], config: FusionConfig, **how: object) -> TrialResult:
    """A trial of the ``official`` protocol; arguments as of ``run_trial``.

    Raises:
        ProtocolError: the folds hold anyone who is not of Train_Set; else as ``run_trial``.
    """
    others = sorted(set(folds) - set(frames.names("train")))
    if others:
        raise ProtocolError(f"official: '{others[0]}' is in the folds but not in Train_Set; settings are chosen on folds of Train_Set alone")
    return run_trial(frames, folds, config, **how)


def run_cv(frames: Frames, folds: Mapping[str, int], config: FusionConfig, **how: object) -> TrialResult:
    """The five models of ``cv`` and their out-of-fold scores; arguments as of ``run_trial``.

    Raises:
        ProtocolError: the folds are not train and validation together; else as ``run_trial``.
    """
    wanted = {*frames.names("train"), *frames.names("val")}
    if set(folds) != wanted or not frames.names("val"):
        odd = sorted(set(folds) ^ wanted)
        raise ProtocolError(f"cv: folds must hold all of train and validation and nobody else; {len(odd)} differ, first '{(odd or ['no one'])[0]}'")
    return run_trial(frames, folds, config, **how)


def run_trial(
    frames: Frames,
    folds: Mapping[str, int],
    config: FusionConfig,
    *,
    report: Report | None = None,
    device: str | None = None,
) -> TrialResult:
    """Train one model a fold on the people of the other folds, and score the fold's people with it.

    Args:
        frames: Their features; people outside of the folds are neither trained on nor scored.
        folds: Fold by person's name, from ``data.folds``.
        config: What is tried.
        report: Told after each fold; what it raises ends the trial.
        device: As of ``train_fusion``.

    Raises:
        ProtocolError: a recording lies in two folds, or the encoder was trained on chips of people that a fold holds out. With one
            encoder a fold, call ``run_fold`` with each one's own features.
    """
    refuse_shared_sources(frames, folds)
    data = DeviceFrames(frames, device)
    logits, gate = np.full((len(frames), 8), np.nan, np.float32), np.full(len(frames), np.nan, np.float32)
    held_by, scores, models = np.full(len(frames), -1, np.int32), [], []
    for fold in sorted(set(folds.values())):
        trained, rows = run_fold(data, folds, fold, config)
        logits[rows], gate[rows] = predict_logits(trained, data, rows)
        held_by[rows] = fold
        scores.append(frame_macro_f1(frames.labels[rows], logits[rows]))
        models.append(trained)
        if report:
            report(fold, scores[-1], trained.curve)
    curves = tuple(model.curve for model in models)
    return TrialResult(logits=logits, gate=gate, fold=held_by, macro_f1=tuple(scores), curves=curves, models=tuple(models))


def run_fold(data: DeviceFrames, folds: Mapping[str, int], fold: int, config: FusionConfig) -> tuple[TrainedFusion, Int[np.ndarray, " rows"]]:
    """The model of one fold and the rows that it may score.

    Raises:
        ProtocolError: the encoder or the model has seen a recording that the fold holds out.
    """
    frames = data.frames
    held = [name for name, number in folds.items() if number == fold]
    refuse_encoder(frames.encoder_saw, _people(frames, held))
    rows = frames.rows_of(held)
    trained = train_fusion(data, config, rows=frames.rows_of(set(folds) - set(held)), val_rows=rows)
    refuse_cv(trained.seen, _people(frames, held))
    return trained, rows


def train_official(frames: Frames, config: FusionConfig, *, device: str | None = None) -> TrainedFusion:
    """The ONE model of the ``official`` protocol, trained on all of Train_Set with the settings that its folds chose."""
    return train_fusion(frames, config, rows=frames.rows_of(frames.names("train")), device=device)


def score_official_val(
    trained: TrainedFusion, frames: Frames, *, device: str | None = None
) -> tuple[Int[np.ndarray, " rows"], Float[np.ndarray, "rows 8"], Float[np.ndarray, " rows"]]:
    """Rows of Validation_Set, their logits and gates; not smoothed.

    Raises:
        ProtocolError: the model or its encoder has seen a validation person. The ``cv`` models have.
    """
    refuse_official(trained.seen, frames.names("val"))
    rows = frames.rows_of(frames.names("val"))
    return rows, *predict_logits(trained, frames, rows, device=device)


def score_together(
    models: Sequence[TrainedFusion], frames: Frames, names: Collection[str], *, device: str | None = None
) -> tuple[Int[np.ndarray, " rows"], Float[np.ndarray, "rows 8"], Float[np.ndarray, " rows"]]:
    """Rows of people whom no model has seen, scored by all models together: the test release, or any other video.

    The official sets share recordings, and the test release may: its people are accepted where only a sibling was trained on, for nothing is
    measured on them here.

    Returns:
        Rows, the logarithm of the models' mean probability (as logits of the whole), and their mean gate.

    Raises:
        ProtocolError: one of the models has seen one of these people, or its encoder one of their recordings.
    """
    data, rows, parts = DeviceFrames(frames, device), frames.rows_of(names), []
    for trained in models:
        both = sorted(trained.seen.names & set(names))
        if both:
            raise ProtocolError(f"test: the model was trained on '{both[0]}', so it may not score it")
        refuse_encoder(trained.seen.encoder, _people(frames, names))
        parts.append(predict_logits(trained, data, rows))
    logs = np.stack([logits - logsumexp(logits, axis=1, keepdims=True) for logits, _ in parts])
    return rows, (logsumexp(logs, axis=0) - np.log(len(parts))).astype(np.float32), np.mean([gate for _, gate in parts], axis=0)


def refuse_official(seen: Seen, val_names: Iterable[str]) -> None:
    """Refuse a model that saw a validation person, itself or through its encoder. Shared recordings are part of the official split."""
    for who, names in (("the model", seen.names), ("its encoder", seen.encoder)):
        both = sorted(names & set(val_names))
        if both:
            raise ProtocolError(f"official_val: {who} was trained on {len(both)} people of Validation_Set, first '{both[0]}'; use train_official")


def refuse_cv(seen: Seen, people: Iterable[Person]) -> None:
    """Refuse a model for people whose recording it, or its encoder, was trained on."""
    for person in people:
        if person.source in seen.sources:
            raise ProtocolError(f"cv: the model was trained on recording '{person.source}' of '{person.name}', so it may not score it")
    refuse_encoder(seen.encoder, people)


def refuse_encoder(encoder_saw: Iterable[str], people: Iterable[Person]) -> None:
    """Refuse features whose encoder was trained on chips of these people's recordings."""
    sources = {source_of(name) for name in encoder_saw}
    for person in people:
        if person.source in sources:
            raise ProtocolError(
                f"encoder: it was trained on chips of recording '{person.source}', so '{person.name}' may not be held out with its features; "
                "train it on still images alone, or one encoder a fold"
            )


def refuse_shared_sources(frames: Frames, folds: Mapping[str, int]) -> None:
    """Refuse folds that put two people of one recording on two sides."""
    first: dict[str, tuple[str, int]] = {}
    for person in _people(frames, folds):
        name, fold = first.setdefault(person.source, (person.name, folds[person.name]))
        if fold != folds[person.name]:
            raise ProtocolError(f"folds: '{name}' and '{person.name}' are of one recording but in folds {fold} and {folds[person.name]}")


def _people(frames: Frames, names: Collection[str]) -> list[Person]:
    return [person for person in frames.people if person.name in set(names)]
