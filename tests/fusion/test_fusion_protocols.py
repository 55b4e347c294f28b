from dataclasses import replace

import numpy as np
import pytest

from abaw_ray.fusion import protocols
from abaw_ray.fusion.frames import Person
from abaw_ray.fusion.model import FusionConfig
from abaw_ray.fusion.protocols import (
    ProtocolError,
    run_cv,
    run_fold,
    run_official_trial,
    run_trial,
    score_official_val,
    score_together,
    train_official,
)
from abaw_ray.fusion.train import DeviceFrames, frame_macro_f1, predict_logits
from abaw_ray.training.config import OptimConfig

CONFIG = FusionConfig(hidden=32, epochs=8, batch=128, optim=OptimConfig(lr=4e-3, layer_decay=1.0))
QUICK = replace(CONFIG, epochs=1)


@pytest.fixture(scope="module")
def cv(frames, folds):
    return run_cv(frames, folds, CONFIG)


def train_folds(frames):
    return {name: index % 3 for index, name in enumerate(frames.names("train"))}


def test_every_frame_is_scored_by_the_model_that_did_not_see_its_recording(frames, folds, cv):
    assert len(cv.models) == len(cv.macro_f1) == len(cv.curves) == 3
    for index, person in enumerate(frames.people):
        rows = np.flatnonzero(frames.person == index)
        fold = folds[person.name]
        assert (cv.fold[rows] == fold).all()
        assert person.source not in cv.models[fold].seen.sources
        assert all(person.source in model.seen.sources for number, model in enumerate(cv.models) if number != fold)
        np.testing.assert_allclose(cv.logits[rows], predict_logits(cv.models[fold], frames, rows)[0], atol=1e-5)


def test_fold_scores_are_those_of_the_held_out_frames(frames, cv):
    for fold, score in enumerate(cv.macro_f1):
        rows = np.flatnonzero(cv.fold == fold)
        assert score == frame_macro_f1(frames.labels[rows], cv.logits[rows])


def test_a_trial_reports_each_fold_and_repeats_itself(frames, folds, cv):
    told = []
    again = run_trial(frames, folds, CONFIG, report=lambda fold, score, curve: told.append((fold, score, len(curve))))
    np.testing.assert_array_equal(again.logits, cv.logits)
    assert told == [(fold, score, CONFIG.epochs) for fold, score in enumerate(cv.macro_f1)]


def test_what_the_report_raises_ends_the_trial(frames, folds):
    told = []

    def stop(fold, score, curve):
        told.append(fold)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(frames, folds, QUICK, report=stop)
    assert told == [0]


def test_both_modalities_together_beat_each_alone(drawn):
    frames = drawn(seed=3, train=16, val=0, noise=3.0)
    folds = {person.name: index % 2 for index, person in enumerate(frames.people)}
    score = {mode: np.mean(run_trial(frames, folds, replace(CONFIG, mode=mode, epochs=10)).macro_f1) for mode in ("fused", "visual", "speech")}
    assert score["visual"] > 0.25 and score["speech"] > 0.25
    assert score["fused"] > max(score["visual"], score["speech"]) + 0.05


def test_labels_shuffled_over_frames_stay_at_chance(frames, folds, cv):
    labels = np.random.default_rng(0).permutation(frames.labels)
    shuffled = run_trial(replace(frames, labels=labels), folds, CONFIG)
    assert np.mean(shuffled.macro_f1) < 0.17
    assert np.mean(cv.macro_f1) > 0.4


def test_what_only_tells_who_someone_is_does_not_help_to_score_others(drawn):
    """Each person has one expression for good: folds that let a recording leak would reach nearly 1."""
    frames = drawn(seed=5, train=32, val=0, frames=20, own=3.0)
    who, config = frames.person.astype(np.int64), replace(CONFIG, batch=32, epochs=8)
    frames = replace(frames, labels=(np.random.default_rng(0).permutation(32) % 8)[who].astype(np.int8))
    fair = run_trial(frames, {person.name: index // 16 for index, person in enumerate(frames.people)}, config)
    halves = tuple(Person(video=f"{person.video}-{part}x", track=f"{person.video}-{part}x") for person in frames.people for part in (0, 1))
    leaky_frames = replace(frames, people=halves, person=(2 * who + (frames.frame % 2)).astype(np.int32))
    leaky = run_trial(leaky_frames, {person.name: index % 2 for index, person in enumerate(halves)}, config)
    print(fair.macro_f1, leaky.macro_f1)
    assert np.mean(fair.macro_f1) < 0.3
    assert np.mean(leaky.macro_f1) > 0.7


def test_out_of_fold_scores_are_handed_on_person_by_person(frames, cv):
    handed = cv.out_of_fold(frames)
    assert [one.name for one in handed] == [person.name for person in frames.people]
    assert sum(len(one.labels) for one in handed) == len(frames)
    for one in handed:
        rows = frames.rows_of([one.name])
        np.testing.assert_array_equal(one.time, frames.time[rows])
        np.testing.assert_array_equal(one.labels, frames.labels[rows])
        np.testing.assert_array_equal(one.scored, frames.scored("fused")[rows])


def test_official_settings_are_chosen_without_a_glance_at_validation(frames):
    folds = train_folds(frames)
    trial = run_official_trial(frames, folds, QUICK)
    val = frames.rows_of(frames.names("val"))
    assert (trial.fold[val] == -1).all() and np.isnan(trial.logits[val]).all()
    labels, visual = frames.labels.copy(), frames.visual.copy()
    labels[val], visual[val] = 0, 3
    blind = run_official_trial(replace(frames, labels=labels, visual=visual), folds, QUICK)
    np.testing.assert_array_equal(blind.logits, trial.logits)
    assert [one.name for one in trial.out_of_fold(frames)] == frames.names("train")


def test_official_folds_with_a_validation_person_are_refused(frames):
    folds = train_folds(frames) | {frames.names("val")[0]: 0}
    with pytest.raises(ProtocolError, match="not in Train_Set"):
        run_official_trial(frames, folds, QUICK)


def test_cv_folds_that_leave_someone_out_are_refused(frames, folds):
    for wrong in (train_folds(frames), {name: fold for name, fold in folds.items() if name != "105"}):
        with pytest.raises(ProtocolError, match="all of train and validation"):
            run_cv(frames, wrong, QUICK)


def test_the_official_model_sees_all_of_train_and_scores_exactly_validation(frames):
    trained = train_official(frames, CONFIG)
    assert trained.seen.names == set(frames.names("train"))
    rows, logits, _ = score_official_val(trained, frames)
    np.testing.assert_array_equal(rows, frames.rows_of(frames.names("val")))
    assert frame_macro_f1(frames.labels[rows], logits) > 0.3


def test_no_cv_model_ever_scores_the_official_validation_set(frames, cv):
    for model in cv.models:
        with pytest.raises(ProtocolError, match="official_val: the model was trained on"):
            score_official_val(model, frames)


def test_the_official_model_is_refused_as_a_fold_model_for_people_it_saw(frames):
    trained = train_official(frames, QUICK)
    with pytest.raises(ProtocolError, match="trained on '100', so it may not score it"):
        score_together([trained], frames, ["100"])


def test_a_fold_model_is_refused_for_a_sibling_of_someone_it_saw(frames, cv):
    model = next(model for model in cv.models if "100" in model.seen.names)
    sibling = Person(video="100", track="100_right")
    with pytest.raises(ProtocolError, match="'100_right'"):
        protocols.refuse_cv(model.seen, [sibling])


def test_a_test_person_whose_sibling_was_trained_on_is_scored_as_the_official_split_has_it(frames):
    person = next(person for person in frames.people if person.split == "val")
    at = frames.people.index(person)
    sibling = replace(person, video="100", track="100_right", split="test")
    related = replace(frames, people=(*frames.people[:at], sibling, *frames.people[at + 1 :]))
    rows, _, _ = score_together([train_official(frames, QUICK)], related, ["100_right"])
    assert len(rows) == (frames.person == at).sum()


def test_two_people_of_one_recording_in_two_folds_are_refused(frames, folds):
    people = list(frames.people)
    people[0], people[1] = Person(video="9-30-640x480-1", track="9-30-640x480-1"), Person(video="9-30-640x480-2", track="9-30-640x480-2_left")
    twins = replace(frames, people=tuple(people))
    wrong = {person.name: index % 3 for index, person in enumerate(people)}
    with pytest.raises(ProtocolError, match="of one recording but in folds 0 and 1"):
        run_trial(twins, wrong, QUICK)


def test_an_encoder_that_was_trained_on_chips_of_held_out_people_is_refused_by_both_protocols(frames, folds):
    peeked = replace(frames, encoder_saw=frozenset({"100"}))
    with pytest.raises(ProtocolError, match="encoder: it was trained on chips of recording '100'"):
        run_cv(peeked, folds, QUICK)
    with pytest.raises(ProtocolError, match="encoder: it was trained on chips of recording '100'"):
        run_official_trial(peeked, train_folds(frames), QUICK)
    val = frames.names("val")[0]
    with pytest.raises(ProtocolError, match="its encoder was trained on 1 people of Validation_Set"):
        score_official_val(train_official(replace(frames, encoder_saw=frozenset({val})), QUICK), frames)


def test_one_encoder_a_fold_is_accepted_where_it_saw_only_the_other_folds(frames, folds):
    saw = frozenset(name for name, fold in folds.items() if fold != 1)
    data = DeviceFrames(replace(frames, encoder_saw=saw))
    trained, rows = run_fold(data, folds, 1, QUICK)
    assert trained.seen.encoder == saw
    assert {folds[frames.people[index].name] for index in frames.person[rows]} == {1}
    with pytest.raises(ProtocolError, match="encoder"):
        run_fold(data, folds, 0, QUICK)


def test_models_together_give_the_mean_probability_for_people_whom_none_has_seen(frames, cv, drawn):
    new = drawn(seed=9, train=0, val=2)
    new = replace(new, people=tuple(Person(video=f"new{index}", track=f"new{index}", split="test") for index in range(2)))
    rows, logits, gate = score_together(cv.models, new, new.names("test"))

    def softmax(values):
        exp = np.exp(values - values.max(axis=1, keepdims=True))
        return exp / exp.sum(axis=1, keepdims=True)

    each = [predict_logits(model, new, rows) for model in cv.models]
    scored = new.scored("fused")[rows]
    np.testing.assert_allclose(softmax(logits[scored]), np.mean([softmax(one[scored]) for one, _ in each], axis=0), atol=1e-5)
    np.testing.assert_allclose(gate[scored], np.mean([two[scored] for _, two in each], axis=0), atol=1e-6)
    assert np.isnan(logits[~scored]).all()
