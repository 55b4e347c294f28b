"""Scores per data set: which images and which classes they are over."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from abaw_ray.core.expressions import ENCODER_CLASSES
from abaw_ray.encoder.evaluation.metrics import ValidationSums, scalars_of
from abaw_ray.encoder.evaluation.sets import ValidationSet, validation_sets
from abaw_ray.encoder.moe import MoeOutput

CONTEMPT = ENCODER_CLASSES.index("Contempt")


def names_and_classes(only_trained=(), **labels_of):
    """Validation sets of data sets with the given classes; every second image is a validation image, except of those in ``only_trained``."""
    rows = [(source, label) for source, labels in labels_of.items() for label in labels for _ in range(2)]
    sources, labels = np.array([source for source, _ in rows], dtype=object), np.array([label for _, label in rows])
    val = np.array([row for row in range(1, len(rows), 2) if sources[row] not in only_trained])
    return {each.name: (len(each.classes), each.is_main) for each in validation_sets(labels, sources, val, ENCODER_CLASSES)}


def test_affectnet_is_scored_with_and_without_contempt_and_the_others_with_their_own_classes():
    found = names_and_classes(affectnet=range(8), rafdb=range(7), extra=(0, 4))
    assert found == {"AffectNet-7": (7, False), "AffectNet-8": (8, True), "RAF-DB": (7, True), "extra": (2, True)}


def test_affectnet_without_contempt_is_one_set():
    assert names_and_classes(affectnet=range(7)) == {"AffectNet-7": (7, True)}


def test_a_data_set_of_contempt_alone_has_no_set_of_no_classes():
    assert names_and_classes(extra=(CONTEMPT,)) == {"extra-1": (1, True)}


def test_a_data_set_without_validation_images_is_not_scored():
    assert names_and_classes(rafdb=range(7), extra=(0, 1), only_trained=("extra",)) == {"RAF-DB": (7, True)}


@pytest.fixture
def batch():
    """Labels, sources, logits and gate of 400 images of AffectNet (eight classes) and RAF-DB (seven)."""
    rng = np.random.default_rng(3)
    sources = rng.choice(np.array(["affectnet", "rafdb"], dtype=object), 400)
    labels = np.where(sources == "affectnet", rng.integers(0, 8, 400), rng.integers(0, 7, 400))
    logits = rng.normal(size=(400, 8)) + 1.5 * np.eye(8)[labels] + np.eye(8)[CONTEMPT]  # contempt is predicted too often
    gate = np.zeros((400, 3))
    gate[np.arange(400), labels % 3] = 0.75
    gate[np.arange(400), (labels + 1) % 3] = 0.25
    return labels, sources, torch.tensor(logits), torch.tensor(gate)


def metrics_of(batch, parts=1):
    labels, sources, logits, gate = batch
    sets = (
        ValidationSet(name="AffectNet-8", source="affectnet", classes=tuple(range(8))),
        ValidationSet(name="AffectNet-7", source="affectnet", classes=tuple(range(7)), is_main=False),
        ValidationSet(name="RAF-DB", source="rafdb", classes=tuple(range(7))),
    )
    total = ValidationSums(8, 3, sets)
    for part in np.array_split(np.arange(len(labels)), parts):
        sums = ValidationSums(8, 3, sets)
        sums.add(MoeOutput(logits[part], gate[part], gate[part]), torch.from_numpy(labels[part]), sources[part])
        total.sums += sums.sums
    return total.metrics(ENCODER_CLASSES)


def test_scores_per_data_set_agree_with_scikit_learn_on_the_classes_of_the_set(batch):
    labels, sources, logits, _ = batch
    metrics = metrics_of(batch)
    for name, source, classes in (("AffectNet-8", "affectnet", 8), ("AffectNet-7", "affectnet", 7), ("RAF-DB", "rafdb", 7)):
        rows = (sources == source) & (labels < classes)
        predicted = logits.numpy()[rows][:, :classes].argmax(axis=1)
        scores = metrics["data_sets"][name]
        assert scores["images"] == rows.sum()
        assert scores["macro_f1"] == pytest.approx(f1_score(labels[rows], predicted, average="macro"))
        assert scores["accuracy"] == pytest.approx(accuracy_score(labels[rows], predicted))
    seven, eight, rafdb = (metrics["data_sets"][name]["macro_f1"] for name in ("AffectNet-7", "AffectNet-8", "RAF-DB"))
    assert seven > eight, "restricting the classes did not matter, so this test could not fail"
    assert metrics["mean_macro_f1"] == pytest.approx((eight + rafdb) / 2)


def test_the_sums_of_parts_have_the_metrics_of_the_whole(batch):
    whole, parts = metrics_of(batch), metrics_of(batch, parts=7)
    assert parts["data_sets"] == whole["data_sets"]
    assert parts["router_use"] == whole["router_use"]


def test_the_use_of_the_experts_is_a_fraction_of_images_per_class(batch):
    labels, metrics = batch[0], metrics_of(batch)
    wanted = [np.isin(labels % 3, (expert, (expert - 1) % 3)).mean() for expert in range(3)]
    assert metrics["router_use"] == pytest.approx(wanted)
    assert sum(metrics["router_use"]) == pytest.approx(2)  # two experts per image
    assert metrics["router_use_per_class"][ENCODER_CLASSES[4]] == [0, 1, 1]


def test_all_scores_of_an_epoch_are_curves(batch):
    metrics = metrics_of(batch)
    curves = scalars_of(metrics)
    assert curves["macro_f1/RAF-DB"] == metrics["data_sets"]["RAF-DB"]["macro_f1"]
    assert curves["accuracy/AffectNet-7"] == metrics["data_sets"]["AffectNet-7"]["accuracy"]
    assert (curves["val/loss"], curves["router_use/expert_3"]) == (metrics["val_loss"], metrics["router_use"][2])
    assert curves["val_f1/Contempt"] == metrics["per_class"]["Contempt"]
