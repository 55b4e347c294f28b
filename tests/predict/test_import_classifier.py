import io
import shutil
import warnings

import pytest
import timm
import torch
from safetensors.torch import load_file
from tiny_classifiers import SEVEN, save_timm, set_json

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.licenses import License
from abaw_ray.predict.bundle.image import NOT_STATED, ImportOptions, write_image
from abaw_ray.predict.bundle.metadata import read_metadata
from abaw_ray.predict.bundle.store import open_bundle

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(timm_checkpoint, tmp_path):
    return shutil.copytree(timm_checkpoint, tmp_path / "checkpoint")


@pytest.fixture
def copy_of_transformers(transformers_checkpoint, tmp_path):
    return shutil.copytree(transformers_checkpoint, tmp_path / "checkpoint")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"size": 32}, (32, 32, 0.5)),
        ({"size": [32, 32], "image_mean": 0.25}, (32, 32, 0.25)),
        ({"size": {"shortest_edge": 36}, "do_center_crop": True, "crop_size": 32}, (36, 32, 0.5)),
        ({"size": {"shortest_edge": 32}, "crop_pct": 0.875}, (36, 32, 0.5)),
        ({"do_normalize": False, "image_mean": None}, (32, 32, 0.0)),
    ],
)
def test_the_input_is_that_of_the_image_processor_in_every_form(copy_of_transformers, tmp_path, settings, expected):
    set_json(copy_of_transformers / "preprocessor_config.json", **settings)
    found = write_image(tmp_path / "model", str(copy_of_transformers)).classifier
    assert (found.resize, found.input_size, found.mean[2]) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": {"height": 32, "width": 48}}, "only classifiers of square images"),
        ({"size": None}, "has no size"),
        ({"rescale_offset": True}, "a step other than"),
        ({"image_std": None}, "no image_mean and image_std"),
        ({"image_mean": [0.5], "image_std": [0.5]}, "normalizes 1 channels"),
        ({"resample": 9}, "by the filter 'unknown'"),
    ],
)
def test_an_input_that_cannot_be_prepared_is_refused(copy_of_transformers, tmp_path, settings, message):
    set_json(copy_of_transformers / "preprocessor_config.json", **settings)
    with pytest.raises(ConfigError, match=message) as caught:
        write_image(tmp_path / "model", str(copy_of_transformers))
    assert "\n" not in str(caught.value)


def test_the_bundle_keeps_the_network_and_has_chips_of_its_size(timm_checkpoint, tmp_path):
    metadata = write_image(tmp_path / "model", str(timm_checkpoint), ImportOptions(name="tiny", crop_scale=1.4))
    assert metadata == read_metadata(tmp_path / "model/bundle.json", "model")
    assert (metadata.kind, metadata.name, metadata.faces.chips.size, metadata.faces.chips.scales) == ("image", "tiny", 73, (1.4,))
    assert set(metadata.files) == {"README.md", "classifier/config.json", "classifier/model.safetensors"}
    assert timm.create_model(f"local-dir:{tmp_path}/model/classifier", pretrained=True).num_classes == 7
    card = (tmp_path / "model/README.md").read_text()
    assert "| angry | Anger |" in card and "Other" not in card.split("## Classes")[0] and NOT_STATED.terms in card
    with open_bundle(str(tmp_path / "model")) as opened:
        assert opened.metadata.classifier.labels == SEVEN


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        (list("0123456"), "", r"its 7 classes have no names \('0'\); give --labels"),
        ([f"LABEL_{index}" for index in range(7)], "", r"have no names \('LABEL_0'\)"),
        (None, "", "its 7 classes have no names"),
        ([*SEVEN[:6], "bored"], "", "class 'bored' is none of neutral, anger, .*; give --labels"),
        (list(SEVEN), "happy,sad", "--labels happy,sad: has 2 names, .* has 7 classes"),
        (list(SEVEN), "happy,sad,joy,fear,anger,disgust,neutral", "'happy' and 'joy' are the same expression"),
        (list(SEVEN), "happy,-,-,-,-,-,-", "two at least"),
    ],
)
def test_classes_without_usable_names_are_refused_with_what_to_do(copy, tmp_path, names, labels, message):
    set_json(copy / "config.json", label_names=names)
    with pytest.raises(ConfigError, match=message) as caught:
        write_image(tmp_path / "model", str(copy), ImportOptions(labels=labels))
    assert "\n" not in str(caught.value)


def test_given_labels_replace_those_of_the_checkpoint_and_may_leave_classes_out(copy, tmp_path):
    set_json(copy / "config.json", label_names=list("0123456"))
    metadata = write_image(tmp_path / "model", str(copy), ImportOptions(labels="Afraid, joy,-,SAD,natural,-,angry"))
    assert metadata.classifier.expressions == ("Fear", "Happiness", "", "Sadness", "Neutral", "", "Anger")


@pytest.mark.parametrize(
    "wrap", [lambda weights: weights, lambda weights: {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in weights.items()}}]
)
def test_a_table_of_tensors_in_a_pytorch_file_becomes_safetensors(copy, tmp_path, wrap):
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    torch.save(wrap(weights), copy / "best.pt")
    write_image(tmp_path / "model", str(copy / "best.pt"))
    stored = load_file(tmp_path / "model/classifier/model.safetensors")
    assert stored.keys() == weights.keys() and all(torch.equal(stored[name], weights[name]) for name in weights)


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("kind", ["module", "payload", "torchscript", "text"])
def test_files_that_are_no_table_of_tensors_are_refused_unread(copy, tmp_path, kind):
    path, trace = copy / "model.pt", tmp_path / "trace"
    if kind == "torchscript":
        with warnings.catch_warnings(action="ignore"):  # TorchScript is deprecated
            torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), path)
    elif kind == "text":
        path.write_text("no weights")
    else:
        torch.save(torch.nn.Linear(2, 2) if kind == "module" else Payload(trace), path)
    with pytest.raises(DataError, match="pickled Python object|no table of tensors") as caught:
        write_image(tmp_path / "model", str(path))
    assert "\n" not in str(caught.value) and "safetensors" in str(caught.value)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), ConfigError, "is a folder without config.json; give the folder"),
        (lambda folder: (folder / "config.json").write_text("{"), DataError, "its config.json is damaged"),
        (lambda folder: (folder / "config.json").write_text('{"num_classes": 7}'), ConfigError, "its config.json names no architecture"),
        (lambda folder: set_json(folder / "config.json", architecture="resnet10x"), DataError, "it has no architecture 'resnet10x'"),
        (lambda folder: set_json(folder / "config.json", architecture="resnet14t"), DataError, "timm cannot load it"),
        (lambda folder: set_json(folder / "config.json", model_args={"num_classes": 5}), DataError, "states 7 classes and builds 5"),
        (lambda folder: (folder / "model.safetensors").unlink(), ConfigError, "is a folder without model.safetensors or pytorch_model.bin"),
        (lambda folder: (folder / "model.safetensors").write_text("x" * 99), DataError, "model.safetensors is damaged"),
        (lambda folder: set_json(folder / "config.json", label_names=["happy", "sad"]), ConfigError, "has 2 names for 7 classes"),
    ],
)
def test_incomplete_checkpoints_are_refused_with_the_reason(copy, tmp_path, damage, error, message):
    damage(copy)
    with pytest.raises(error, match=message) as caught:
        write_image(tmp_path / "model", str(copy))
    assert "\n" not in str(caught.value)


def test_a_classifier_of_gray_images_is_refused(tmp_path):
    save_timm(tmp_path / "gray", channels=1)
    with pytest.raises(ConfigError, match="takes images of 1 channels; only classifiers of RGB images"):
        write_image(tmp_path / "model", str(tmp_path / "gray"))


def test_transformers_with_missing_weights_or_without_an_image_processor_is_refused(copy_of_transformers, tmp_path):
    set_json(copy_of_transformers / "config.json", num_hidden_layers=2)
    with pytest.raises(DataError, match="weights are missing or of another shape, such as vit"):
        write_image(tmp_path / "a", str(copy_of_transformers))
    set_json(copy_of_transformers / "config.json", num_hidden_layers=1)
    (copy_of_transformers / "preprocessor_config.json").unlink()
    with pytest.raises(ConfigError, match=r"has no preprocessor_config.json, so its normalization is not known"):
        write_image(tmp_path / "b", str(copy_of_transformers))


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlicense: cc-by-nc-4.0\ndatasets: [raf-db]\n---\n# x", ("cc-by-nc-4.0", "License stated by the source: cc-by-nc-4.0;", ("raf-db",))),
        ("---\nlicense: other\nlicense_name: my-terms\n---\n", ("other", "License stated by the source: other (my-terms);", ())),
        ("---\nlicense: [a\n---\n", ("other", NOT_STATED.terms, ())),
        ("# no front matter", ("other", NOT_STATED.terms, ())),
    ],
)
def test_the_license_is_that_of_the_model_card(copy, tmp_path, card, expected):
    (copy / "README.md").write_text(card)
    metadata = write_image(tmp_path / "model", str(copy))
    assert (metadata.license.id, metadata.training_data) == (expected[0], expected[2])
    assert metadata.license.terms.startswith(expected[1]) and metadata.notices == (metadata.license.terms,)


def test_a_given_license_replaces_it_and_enters_the_identity(copy, tmp_path):
    terms = License(id="mit", terms="Free to use.")
    given, stated = (write_image(tmp_path / name, str(copy), options) for name, options in (("a", ImportOptions(license=terms)), ("b", None)))
    assert given.license == terms and given.identity != stated.identity


def test_a_repository_of_the_model_hub_is_imported_with_its_license(copy, tmp_path, model_hub):
    model_hub.files |= {path.name: path.read_bytes() for path in copy.iterdir()} | {"README.md": b"---\nlicense: mit\n---\n"}
    metadata = write_image(tmp_path / "model", "someone/faces")
    assert (metadata.name, metadata.license.id) == ("faces", "mit")
    assert any("someone/faces/resolve/" in request for request in model_hub.requests)


def test_a_checkpoint_in_an_object_store_is_imported_as_a_folder_and_as_a_file(copy, tmp_path, object_store):
    object_store.create_bucket(Bucket="models")
    for path in copy.iterdir():
        object_store.upload_fileobj(io.BytesIO(path.read_bytes()), "models", f"faces/{path.name}")
    by_folder = write_image(tmp_path / "a", "s3://models/faces")
    by_file = write_image(tmp_path / "b", "s3://models/faces/model.safetensors", ImportOptions(name="faces"))
    assert by_folder.identity == by_file.identity


def test_a_missing_file_in_a_folder_that_looks_like_a_repository_is_a_missing_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="there is no such file or folder"):
        write_image(tmp_path / "model", "owner/name/model.pt")
