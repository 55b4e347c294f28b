from dataclasses import replace

import numpy as np
import pytest
import torch

from abaw_ray.core.errors import ConfigError
from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.model import GatedFusion


@pytest.fixture
def model(frames):
    torch.manual_seed(0)
    model = GatedFusion(frames.visual.shape[1], frames.speech.shape[1], FusionConfig(hidden_dim=32)).eval()
    model.fit_standardizers(frames, np.arange(len(frames)))
    return model


def inputs(rows=64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 24, generator=generator), torch.randn(rows, 16, generator=generator)


PRESENT, ABSENT = torch.ones(64, dtype=torch.bool), torch.zeros(64, dtype=torch.bool)


@pytest.mark.parametrize("filler", [0.0, 7.0, float("nan"), float("inf")])
def test_the_values_of_a_missing_vector_do_not_change_the_output(model, filler):
    visual, speech = inputs()
    with torch.no_grad():
        for missing, masks, expected_gate in (("visual", (ABSENT, PRESENT), 0.0), ("speech", (PRESENT, ABSENT), 1.0)):
            pair = {"visual": visual, "speech": speech}
            expected, gate = model(**pair, seen=masks[0], heard=masks[1])
            pair[missing] = torch.full_like(pair[missing], filler)
            found, _ = model(**pair, seen=masks[0], heard=masks[1])
            assert torch.equal(found, expected)
            assert torch.isfinite(found).all()
            assert torch.equal(gate, torch.full((64,), expected_gate))


def test_a_missing_vector_is_not_the_same_as_a_vector_of_zeros(model):
    visual, speech = inputs()
    with torch.no_grad():
        no_face, _ = model(visual, speech, ABSENT, PRESENT)
        zero_face, _ = model(torch.zeros_like(visual), speech, PRESENT, PRESENT)
        zero_speech, _ = model(visual, torch.zeros_like(speech), PRESENT, PRESENT)
        no_speech, _ = model(visual, speech, PRESENT, ABSENT)
    assert not torch.allclose(no_face, zero_face, atol=1e-3)
    assert not torch.allclose(zero_speech, no_speech, atol=1e-3)


def test_with_both_modalities_the_gate_is_between_0_and_1_and_both_vectors_count(model):
    visual, speech = inputs()
    with torch.no_grad():
        logits, gate = model(visual, speech, PRESENT, PRESENT)
        assert ((gate > 0) & (gate < 1)).all()
        assert not torch.allclose(logits, model(visual + 1, speech, PRESENT, PRESENT)[0])
        assert not torch.allclose(logits, model(visual, speech + 1, PRESENT, PRESENT)[0])


def test_a_frame_does_not_depend_on_the_others_in_its_batch(model):
    visual, speech = inputs()
    order = torch.randperm(64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        whole, _ = model(visual, speech, PRESENT, PRESENT)
        mixed, _ = model(visual[order], speech[order], PRESENT, PRESENT)
        alone, _ = model(visual[5:6], speech[5:6], PRESENT[:1], PRESENT[:1])
    torch.testing.assert_close(mixed, whole[order])
    torch.testing.assert_close(alone, whole[5:6])


def test_modality_dropout_drops_one_of_two_modalities_at_its_rate_and_never_both():
    model = GatedFusion(4, 4, FusionConfig(modality_dropout=0.4))
    seen, heard = torch.ones(20_000, dtype=torch.bool), torch.arange(20_000) % 2 == 0
    torch.manual_seed(0)
    left, right = model._drop_modalities(seen, heard)
    assert (left | right).all()
    assert left[~heard].all()
    both = heard
    assert abs((~left[both]).float().mean() - 0.2) < 0.02
    assert abs((~right[both]).float().mean() - 0.2) < 0.02


def test_standardisation_comes_from_the_given_rows_that_have_the_vector_and_from_no_others(frames):
    rows = frames.rows_of_subjects(frames.subject_names("train"))
    model = GatedFusion(24, 16, FusionConfig())
    model.fit_standardizers(frames, rows)
    present = frames.visual[rows][frames.seen[rows]].astype(np.float64)
    np.testing.assert_allclose(model.visual_standardizer.mean.numpy(), present.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.visual_standardizer.std.numpy(), present.std(axis=0), rtol=1e-4)
    visual = frames.visual.copy()
    visual[frames.rows_of_subjects(frames.subject_names("val"))] = 1000
    visual[~frames.seen] = 500
    other = GatedFusion(24, 16, FusionConfig())
    other.fit_standardizers(replace(frames, visual=visual), rows)
    assert torch.equal(model.visual_standardizer.mean, other.visual_standardizer.mean)


def test_a_constant_feature_is_not_divided_by_zero(frames):
    visual = frames.visual.copy()
    visual[:, 0] = 3
    model = GatedFusion(24, 16, FusionConfig())
    model.fit_standardizers(replace(frames, visual=visual), np.arange(len(frames)))
    out = model.visual_standardizer(torch.from_numpy(visual), torch.from_numpy(frames.seen))
    assert torch.isfinite(out).all()
    assert torch.equal(out[:, 0], torch.zeros(len(frames)))


@pytest.mark.parametrize("wrong", [{"hidden_dim": 0}, {"epochs": 0}, {"dropout": 1.0}, {"modality_dropout": -0.1}])
def test_invalid_settings_are_rejected_by_name(wrong):
    with pytest.raises(ConfigError, match=f"fusion.{next(iter(wrong))}="):
        FusionConfig(**wrong)
