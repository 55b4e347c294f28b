import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.data.folds import assign_folds, count_folds
from abaw_ray.data.subjects import recording_of

WEIGHT = np.array([26, 2.3, 1.6, 1.7, 13, 10.4, 4.4, 27.2])


def subjects(count, seed=0, frames=(50, 4000)):
    """Labels by subject; names share recordings in all ways that occur in Aff-Wild2."""
    rng = np.random.default_rng(seed)
    names = [f"{k}" for k in range(count)] + [f"{k}-30-640x480-{part}" for k in range(count // 4) for part in (1, 2)]
    names += [f"video{k}{side}" for k in range(count // 8) for side in ("_left", "_right")]
    names += [f"video{100 + k}_{part}" for k in range(count // 8) for part in (1, 2, 3)]
    return {name: rng.choice(8, size=rng.integers(*frames), p=rng.dirichlet(WEIGHT / 10)).astype(np.int8) for name in names}


@pytest.mark.parametrize("seed", range(3))
def test_no_recording_is_in_two_folds_and_every_subject_is_in_one(seed):
    labels = subjects(60, seed)
    folds = assign_folds(labels, folds=5, seed=seed)
    assert folds.keys() == labels.keys()
    assert set(folds.values()) == set(range(5))
    assert len({(recording_of(name), fold) for name, fold in folds.items()}) == len({recording_of(name) for name in labels})


def test_every_fold_has_a_similar_share_of_every_expression():
    labels = subjects(200)
    folds = assign_folds(labels, folds=5, seed=0)
    counts = np.array([np.bincount(np.concatenate([labels[name] for name in labels if folds[name] == fold]), minlength=8) for fold in range(5)])
    assert (np.abs(counts / counts.sum(axis=0) - 0.2) < 0.08).all()


def test_the_same_names_and_seed_give_the_same_folds_in_any_order():
    labels = subjects(30)
    reversed_labels = dict(reversed(labels.items()))
    assert assign_folds(labels, seed=1) == assign_folds(reversed_labels, seed=1)
    assert list(assign_folds(labels, seed=1).items()) == list(assign_folds(reversed_labels, seed=1).items())


def test_the_seed_breaks_ties_between_recordings_of_equal_size():
    labels = {str(k): np.zeros(50, np.int8) for k in range(20)}
    assert assign_folds(labels, seed=1) != assign_folds(labels, seed=2)


def test_unlabelled_and_empty_subjects_get_a_fold_too():
    labels = subjects(20) | {"109-30-1280x720": np.full(500, -1, np.int8), "none": np.zeros(0, np.int8)}
    folds = assign_folds(labels, seed=0)
    assert {folds["109-30-1280x720"], folds["none"]} <= set(range(5))


def test_a_rare_expression_is_distributed_over_folds_despite_subsampling():
    labels = {str(k): np.zeros(100_000, np.int8) for k in range(10)}
    for k in range(5):
        labels[str(k)][:3] = 3
    folds = assign_folds(labels, folds=5, seed=0)
    assert {folds[str(k)] for k in range(5)} == set(range(5))


def test_as_many_recordings_as_folds_is_enough_and_fewer_is_an_error():
    labels = {str(k): np.full(20, k % 2, np.int8) for k in range(5)}
    assert sorted(assign_folds(labels, folds=5, seed=0).values()) == [0, 1, 2, 3, 4]
    with pytest.raises(ConfigError, match="folds=5 with 4 recordings"):
        assign_folds({f"{name}_left": labels[name] for name in "0123"} | {"0_right": labels["4"]}, folds=5, seed=0)
    with pytest.raises(ConfigError, match="folds=1"):
        assign_folds(labels, folds=1, seed=0)


def test_subjects_without_any_label_cannot_be_stratified():
    with pytest.raises(DataError, match="no expression has 2 labelled frames"):
        assign_folds({"1": np.full(5, -1, np.int8), "2": np.full(5, -1, np.int8)}, folds=2, seed=0)


def test_a_repeat_is_another_assignment_that_keeps_recordings_together_and_classes_balanced():
    labels = subjects(200)
    folds = [assign_folds(labels, seed=0, repeat=repeat) for repeat in range(3)]
    assert folds[1] == assign_folds(labels, seed=0, repeat=1)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        together = [
            {(one, other) for one in sorted(labels)[:80] for other in sorted(labels)[:80] if assigned[one] == assigned[other]}
            for assigned in (folds[first], folds[second])
        ]
        assert len(together[0] & together[1]) < 0.5 * len(together[0]), "whatever the numbers of the folds are"
    for assigned in folds:
        assert assigned.keys() == labels.keys()
        assert len({(recording_of(name), fold) for name, fold in assigned.items()}) == len({recording_of(name) for name in labels})
        counts = np.array(
            [np.bincount(np.concatenate([labels[name] for name in labels if assigned[name] == fold]), minlength=8) for fold in range(5)]
        )
        assert (np.abs(counts / counts.sum(axis=0) - 0.2) < 0.12).all()


def test_folds_are_counted_by_subject_recording_and_labelled_frame():
    labels = {"1_left": np.array([0, 0, 7, -1], np.int8), "1_right": np.array([7], np.int8), "2": np.array([-1], np.int8)}
    first, second = count_folds(labels, {"1_left": 0, "1_right": 0, "2": 1})
    assert (first.fold, first.subjects, first.recordings, first.frames) == (0, 2, 1, (2, 0, 0, 0, 0, 0, 0, 2))
    assert (second.fold, second.subjects, second.recordings, second.frames) == (1, 1, 1, (0,) * 8)
