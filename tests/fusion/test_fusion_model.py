import pytest
import torch

from abaw_ray.core.errors import ConfigError
from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.model import GatedFusion
from abaw_ray.fusion.network.heads import ConvHead, Windows, dilations
from abaw_ray.fusion.network.noise import TrainingNoise


@pytest.fixture
def model(frames):
    torch.manual_seed(0)
    return GatedFusion(frames.visual.shape[1], frames.speech.shape[1], FusionConfig(hidden_dim=32)).eval()


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
    candidates = [FusionConfig(modality_dropout=rate) for rate in (0.4, 0.0)]
    noise = TrainingNoise(candidates, [0], 0, 0, torch.device("cpu"))
    seen, heard = torch.ones(1, 20_000, dtype=torch.bool), (torch.arange(20_000) % 2 == 0)[None]
    left, right = noise.modalities(seen, heard)
    assert (left | right).all()
    assert left[0, ~heard].all()
    assert torch.equal(left[1], seen) and torch.equal(right[1], heard)
    assert abs((~left[0, heard]).float().mean() - 0.2) < 0.02
    assert abs((~right[0, heard]).float().mean() - 0.2) < 0.02


def test_dropout_keeps_the_expectation_and_drops_more_units_at_a_higher_rate():
    noise = TrainingNoise([FusionConfig(dropout=rate) for rate in (0.0, 0.2, 0.6)], [0], 0, 0, torch.device("cpu"))
    kept = noise.hidden(torch.ones(3, 1, 500, 64))
    assert torch.equal(kept[0], torch.ones(1, 500, 64))
    torch.testing.assert_close(kept.mean(dim=(1, 2, 3)), torch.ones(3), atol=0.03, rtol=0)
    torch.testing.assert_close((kept == 0).float().mean(dim=(1, 2, 3)), torch.tensor([0.0, 0.2, 0.6]), atol=0.02, rtol=0)
    assert ((kept[1] == 0) <= (kept[2] == 0)).all()  # the same numbers decide


def test_without_a_gate_both_vectors_weigh_one_half_and_a_missing_one_nothing():
    model = GatedFusion(24, 16, FusionConfig(hidden_dim=32, gate="mean")).eval()
    visual, speech = inputs()
    with torch.no_grad():
        logits, weight = model(visual, speech, PRESENT, PRESENT)
        assert torch.equal(weight, torch.full((64,), 0.5))
        assert not torch.allclose(logits, model(visual, speech + 1, PRESENT, PRESENT)[0])
        assert torch.equal(model(visual, speech, PRESENT, ABSENT)[1], torch.ones(64))
        assert torch.equal(model(visual, speech, ABSENT, PRESENT)[1], torch.zeros(64))
    assert not any(name.startswith("gate") for name, _ in model.named_parameters())


def test_a_gate_per_dimension_weights_each_dimension_and_reports_their_mean(frames):
    model = GatedFusion(24, 16, FusionConfig(hidden_dim=32, gate="dimension")).eval()
    visual, speech = inputs()
    with torch.no_grad():
        logits, gate = model(visual, speech, PRESENT, PRESENT)
        assert torch.equal(model(visual, speech, PRESENT, ABSENT)[1], torch.ones(64))
        assert torch.equal(model(visual, speech, ABSENT, PRESENT)[1], torch.zeros(64))
    assert model.gate.weight.shape == (32, 16)
    assert gate.shape == (64,) and ((gate > 0) & (gate < 1)).all()
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("head", ["conv", "attention"])
def test_a_temporal_head_reads_the_other_frames_of_its_window_and_none_of_another(head):
    torch.manual_seed(0)
    model = GatedFusion(24, 16, FusionConfig(hidden_dim=32, head=head)).eval()
    visual, speech = inputs()
    time = torch.arange(64) / 5
    valid = torch.ones(64, dtype=torch.bool)
    valid[14:16] = False

    def logits(changed, windows):
        other = visual.clone()
        other[changed] += 3
        return model(other, speech, PRESENT, PRESENT, windows)[0]

    with torch.no_grad():
        windows = Windows(16, valid, time)
        before = model(visual, speech, PRESENT, PRESENT, windows)[0]
        effect = (logits(3, windows) - before).abs().amax(dim=1)
        assert (effect[:10] > 1e-6).all()
        assert effect[16:].max() == 0
        assert (logits(15, windows) - before).abs().amax(dim=1)[:14].max() == 0  # no frame is there
        later = model(visual, speech, PRESENT, PRESENT, Windows(16, valid, time + 100))[0]
        torch.testing.assert_close(later, before)


@pytest.mark.parametrize(("seconds", "expected"), [(0.4, [1]), (2.0, [1, 2, 4]), (8.0, [1, 2, 4, 8, 16]), (10.0, [1, 2, 4, 8, 16])])
def test_the_convolutions_see_the_whole_window_from_its_middle(seconds, expected):
    config = FusionConfig(hidden_dim=16, head="conv", window_s=seconds)
    assert dilations(config.window_rows) == expected and sum(expected) >= config.window_rows // 2
    torch.manual_seed(0)
    head, rows = ConvHead(config, ()).eval(), config.window_rows
    windows = Windows(rows, torch.ones(rows, dtype=torch.bool), torch.arange(rows) / 5)
    x = torch.randn(rows, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(head(x, windows, None)[rows // 2].sum(), x)
    assert (gradient.abs().sum(dim=1) > 0).all()


def test_a_width_that_the_attention_cannot_divide_is_refused():
    with pytest.raises(ConfigError, match="fusion.hidden_dim=30 must be a multiple of 4 for fusion.head=attention"):
        FusionConfig(hidden_dim=30, head="attention")


@pytest.mark.parametrize("wrong", [{"hidden_dim": 0}, {"epochs": 0}, {"dropout": 1.0}, {"modality_dropout": -0.1}, {"rows_per_second": -1}])
def test_invalid_settings_are_rejected_by_name(wrong):
    with pytest.raises(ConfigError, match=f"fusion.{next(iter(wrong))}="):
        FusionConfig(**wrong)
