import json
from dataclasses import replace

import cv2
import numpy as np
import pyarrow as pa
import pytest
import timm
import torch
from PIL import Image
from tiny_classifiers import EIGHT, face_like, save_transformers
from transformers import AutoImageProcessor, AutoModelForImageClassification
from transformers.utils.logging import is_progress_bar_enabled

from abaw_ray.core.errors import DataError, ItemError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.predict.analyzer import Analyzer
from abaw_ray.predict.bundle.image import NOT_STATED, ImportOptions, write_image
from abaw_ray.predict.classifiers.network import load_network
from abaw_ray.predict.config import DetectorChoice
from abaw_ray.predict.models.image_classifier import expression_logits
from abaw_ray.predict.models.load import load_model
from abaw_ray.predict.models.scores import FrameModel

pytestmark = pytest.mark.slow


def png(rgb):
    """A lossless image, which chips are decoded from like JPEG."""
    return cv2.imencode(".png", rgb[:, :, ::-1])[1].tobytes()


def scores(folder, chips):
    """Logits of chips, and the metadata of the bundle."""
    model, metadata = load_model(str(folder))
    assert isinstance(model, FrameModel)
    (part,) = model.score([pa.table({"chip": pa.array(chips, pa.binary())})], np.zeros(len(chips)), None)
    assert np.isnan(part.gate).all() and not part.heard.any()
    return part.logits, metadata


def timm_pipeline(folder, image):
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    with torch.no_grad():
        return model(transform(Image.fromarray(image))[None])[0].softmax(0).numpy()


def transformers_pipeline(folder, image):
    model, processor = AutoModelForImageClassification.from_pretrained(folder).eval(), AutoImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        return model(**processor(Image.fromarray(image), return_tensors="pt")).logits[0].softmax(0).numpy()


@pytest.mark.parametrize("side", [41, 72, 73, 130])
def test_probabilities_are_those_of_timm_on_the_same_crop(timm_checkpoint, tmp_path, side):
    write_image(tmp_path / "model", str(timm_checkpoint))
    image = face_like(side)
    logits, metadata = scores(tmp_path / "model", [png(image)])
    assert (metadata.classifier.input_size, metadata.classifier.resize, metadata.classifier.interpolation) == (64, 73, "bicubic")
    expected = timm_pipeline(timm_checkpoint, image)
    order = [EXPRESSIONS.index(name) for name in ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise", "Neutral")]
    assert 0.2 < expected.max() < 0.999
    np.testing.assert_allclose(np.exp(logits[0, order]), expected, atol=1e-4)
    assert np.isneginf(logits[0, EXPRESSIONS.index("Other")])


PROCESSORS = [
    {},
    {"image_mean": [0.48, 0.45, 0.4], "image_std": [0.22, 0.22, 0.2], "resample": 3},
    {"do_normalize": False},
    {"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3},
    {"size": {"shortest_edge": 40}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32}},
]


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("side", [29, 70])
def test_probabilities_are_those_of_transformers_on_the_same_crop(tmp_path, processor, side):
    folder = save_transformers(tmp_path / "faces", labels=EIGHT[:7], **processor)
    write_image(tmp_path / "model", str(folder))
    image = face_like(side)
    logits, _ = scores(tmp_path / "model", [png(image)])
    expected = transformers_pipeline(folder, image)
    order = [EXPRESSIONS.index(name) for name in EIGHT[:7]]
    assert expected.max() < 0.9999
    np.testing.assert_allclose(np.exp(logits[0, order]), expected, atol=1e-4)


def test_contempt_is_left_out_and_the_others_are_renormalized_unless_it_is_other(transformers_checkpoint, tmp_path):
    image = face_like(50)
    expected = transformers_pipeline(transformers_checkpoint, image)
    write_image(tmp_path / "drop", str(transformers_checkpoint))
    dropped = np.exp(scores(tmp_path / "drop", [png(image)])[0][0])
    np.testing.assert_allclose(dropped[EXPRESSIONS.index("Neutral")], expected[0] / expected[:7].sum(), atol=1e-4)
    assert dropped[EXPRESSIONS.index("Other")] == 0 and dropped.sum() == pytest.approx(1, abs=1e-5)
    assert "| Contempt | left out, the others are renormalized |" in (tmp_path / "drop/README.md").read_text()
    write_image(tmp_path / "other", str(transformers_checkpoint), ImportOptions(contempt="other"))
    kept = np.exp(scores(tmp_path / "other", [png(image)])[0][0])
    np.testing.assert_allclose(kept[EXPRESSIONS.index("Other")], expected[7], atol=1e-4)


def test_probabilities_of_two_classes_of_one_expression_are_added():
    logits = expression_logits(np.log(np.array([[0.5, 0.2, 0.2, 0.1]], np.float32)), ("Other", "Fear", "Other", ""))
    np.testing.assert_allclose(np.exp(logits[0, [3, 7]]), [0.2 / 0.9, 0.7 / 0.9], rtol=1e-6)
    assert np.isneginf(np.delete(logits[0], [3, 7])).all()


def test_frames_without_a_chip_have_no_score_and_broken_chips_are_named(timm_checkpoint, tmp_path):
    write_image(tmp_path / "model", str(timm_checkpoint))
    logits, _ = scores(tmp_path / "model", [None, png(face_like(40)), None])
    assert np.isnan(logits[[0, 2]]).all() and np.isfinite(logits[1, :7]).all()
    with pytest.raises(ItemError, match="the chip of row 2 cannot be decoded"):
        scores(tmp_path / "model", [None, b"no image"])


def test_a_clip_is_analyzed_with_empty_columns_for_missing_expressions_and_without_its_sound(timm_checkpoint, clip, tmp_path):
    write_image(tmp_path / "model", str(timm_checkpoint))
    with Analyzer(str(tmp_path / "model"), detector=DetectorChoice(kind="haar")) as analyzer:
        result = analyzer(clip)
    frame = result.to_pandas()
    assert frame["scored"].mean() > 0.8 and not frame["heard"].any() and frame["gate"].isna().all()
    assert frame["p_other"].isna().all()
    present = [f"p_{name.lower()}" for name in EXPRESSIONS[:7]]
    scored = frame[frame["scored"]]
    np.testing.assert_allclose(scored[present].sum(axis=1), 1, atol=1e-5)
    assert scored[present].std().max() > 1e-4
    assert result.video.audio == "unused" and result.level is None
    assert result.model.notices == (NOT_STATED.terms,)


def test_a_bundle_that_does_not_describe_its_classifier_is_refused(timm_checkpoint, tmp_path):
    metadata = write_image(tmp_path / "model", str(timm_checkpoint))
    (tmp_path / "model/bundle.json").write_text(json.dumps(json.loads(replace(metadata, classifier=None).to_json())))
    with pytest.raises(DataError, match="does not describe its classifier"):
        load_model(str(tmp_path / "model"))


def test_loading_prints_no_progress_bar_and_leaves_the_setting_of_transformers(transformers_checkpoint, capfd):
    assert is_progress_bar_enabled()
    load_network(transformers_checkpoint, "transformers", "some")
    assert is_progress_bar_enabled() and capfd.readouterr() == ("", "")
    AutoModelForImageClassification.from_pretrained(transformers_checkpoint)
    assert "Loading weights" in capfd.readouterr().err, "without a bar this test checks nothing"
