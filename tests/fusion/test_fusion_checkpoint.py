from dataclasses import replace

import numpy as np
import pytest

from abaw_ray.core import schema
from abaw_ray.core.errors import DataError
from abaw_ray.fusion.checkpoint import METADATA_FILE, WEIGHTS_FILE, load_fusion, logits_table, save_fusion
from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.evaluation.cross_validation import train_on_all
from abaw_ray.fusion.inference import predict_logits

CONFIG = FusionConfig(hidden_dim=16, epochs=1, mode="visual")


def train(frames, config=CONFIG, names=None):
    subjects = np.array([names is None or subject.name in names for subject in frames.subjects])
    return train_on_all(frames, subjects, config, config.epochs)


@pytest.mark.parametrize("changes", [{"head": "conv"}, {"head": "attention"}, {"gate": "dimension"}, {"gate": "mean"}])
def test_a_model_of_any_architecture_is_loaded_with_its_scores(frames, tmp_path, changes):
    trained = train(frames, FusionConfig(hidden_dim=16, epochs=1, **changes))
    save_fusion(tmp_path, trained)
    for one, two in zip(predict_logits(trained, frames), predict_logits(load_fusion(tmp_path), frames), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_saved_model_is_loaded_with_its_scores_settings_and_training_provenance(frames, tmp_path):
    trained = train(replace(frames, encoder_train_subjects=frozenset({"7"})), names=["100", "101"])
    save_fusion(tmp_path / "model", trained)
    loaded = load_fusion(tmp_path / "model")
    assert loaded.model.config == CONFIG
    assert loaded.provenance == trained.provenance
    assert loaded.provenance.subjects == {"100", "101"} and loaded.provenance.encoder_train_subjects == {"7"}
    assert loaded.curve == list(trained.curve)
    for one, two in zip(predict_logits(trained, frames), predict_logits(loaded, frames), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_folder_without_a_complete_model_raises_a_data_error(frames, tmp_path):
    with pytest.raises(DataError, match="has no fusion.json"):
        load_fusion(tmp_path)
    save_fusion(tmp_path, train(frames))
    whole = (tmp_path / WEIGHTS_FILE).read_bytes()
    (tmp_path / WEIGHTS_FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a complete fusion model"):
        load_fusion(tmp_path)
    (tmp_path / WEIGHTS_FILE).write_bytes(whole)
    text = (tmp_path / METADATA_FILE).read_text()
    (tmp_path / METADATA_FILE).write_text(text.replace('"Anger"', '"Contempt"'))
    with pytest.raises(DataError, match="train it again"):
        load_fusion(tmp_path)


def test_the_logits_table_has_a_row_for_every_frame_scored_or_not(frames):
    logits, gate = predict_logits(train(frames), frames)
    rows = np.arange(len(frames))
    table = logits_table(frames, rows, logits, gate, np.full(len(frames), 2))
    assert table.schema == schema.LOGITS
    assert len(table) == len(frames)
    last = table.slice(len(table) - 1).to_pylist()[0]
    assert (last["video"], last["track"], last["frame"], last["fold"]) == ("115", "115", 120, 2)
    np.testing.assert_array_equal(np.array(table["logits"].combine_chunks().flatten()).reshape(-1, 8), logits)
