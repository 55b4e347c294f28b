from huggingface_hub import ModelCard

from abaw_ray.encoder.evaluation.probe import probe_encoder
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.output.card import TrainingData, render_encoder_card, training_data
from abaw_ray.encoder.task import EncoderTask


def card_of(config, images, *, is_synthetic, probed=True, selected=True):
    task, model = EncoderTask(config, images), ExpressionModel(config)
    epoch = task.validate(model).metrics(config.classes) | {"epoch": 2, "epochs": 6}
    probe = probe_encoder(task, model, rank=0) if probed else None
    facts = {"dim": model.encoder.dim, "selected_by_score": selected, "is_synthetic": is_synthetic}
    return epoch, probe, render_encoder_card(config, training_data(images), epoch, probe, **facts)


def test_the_card_has_data_scores_license_and_limits(config, images):
    assert training_data(images) == [TrainingData(source="even", train=150, val=23), TrainingData(source="odd", train=150, val=22)]
    epoch, probe, text = card_of(config, images, is_synthetic=True)
    card = ModelCard(text, ignore_metadata_errors=False)
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "timm")
    scores, probed = epoch["data_sets"]["even"], probe["data_sets"]["even"]
    assert card.data.eval_results[0].metric_value == round(scores["macro_f1"], 4)
    assert f"| even | 23 | {scores['accuracy']:.3f} | {scores['macro_f1']:.3f} | {probed['macro_f1']:.3f} |" in card.text
    for words in ("Trained on generated faces.", "| even | 150 | 23 |", "Epoch 2 of 6", "slightly optimistic", "## Intended use and limits"):
        assert words in card.text, words


def test_the_card_of_an_encoder_of_real_faces_is_for_research_and_missing_scores_are_not_measured(config, images):
    _, _, text = card_of(config, images, is_synthetic=False, probed=False, selected=False)
    card = ModelCard(text, ignore_metadata_errors=False)
    assert (card.data.license, card.data.license_name) == ("other", "research-only")
    assert "For research only" in card.text and "not measured" in card.text
    assert "generated faces" not in card.text and "optimistic" not in card.text
