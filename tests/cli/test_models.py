"""``abaw-ray models``: import, show and export as a user types them."""

import json
import shutil
import sys

import pytest
import timm
from tiny_bundle import write_tiny_bundle
from tiny_classifiers import EIGHT, save_timm

from abaw_ray.cli import main as entry
from abaw_ray.cli.models import LINES, settings_of
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.predict.bundle.store import open_bundle, upload_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    write_tiny_bundle(folder, tmp_path_factory.mktemp("parts"))
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return save_timm(tmp_path_factory.mktemp("timm") / "faces", EIGHT)


@pytest.fixture
def models(monkeypatch, capsys):
    """Runs a subcommand in this process; returns its exit code, its lines of output, and of errors."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["abaw-ray", "models", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            entry.main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out.splitlines(), printed.err.splitlines()

    return run


@pytest.mark.parametrize("name", LINES)
def test_the_page_of_a_subcommand_has_valid_examples_and_its_options(name, models):
    code, lines, _ = models(name, "--help")
    assert code == 0 and lines[0].startswith(f"usage: abaw-ray models {name} ") and "  --help-all" in lines
    for example in LINES[name].page.examples:
        assert settings_of(example.split()[2:])


def test_the_overview_names_the_subcommands_and_the_full_one_has_all_options(models):
    code, lines, _ = models()
    assert code == 2 and lines == models("--help")[1]
    assert all(any(line.startswith(f"  {name} ") for line in lines) for name in LINES)
    assert {"  --contempt {drop,other}", "  --parts {all,encoder}"} <= set(models("--help-all")[1])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["improt"], "error: abaw-ray models improt: did you mean import?"),
        (["xyz"], "error: abaw-ray models xyz: choose import, show, export"),
        (["show"], "error: abaw-ray models show: no model is given, for example: abaw-ray models show runs/demo/model"),
        (["show", "a", "b"], "error: abaw-ray models show: takes one MODEL, 'a'; leave 'b' out"),
        (["import", "a", "--contempt", "fear"], "error: --contempt fear: choose drop or other"),
        (["import", "a", "--license-terms", "x"], "error: --license-terms: needs --license with the identifier of the license, or other"),
        (["export", "a", "--part", "all"], "error: unknown option --part; did you mean --parts? (see abaw-ray models export --help-all)"),
    ],
)
def test_errors_of_the_command_line_are_one_line(args, message, models):
    assert models(*args) == (2, [], [message])


@pytest.mark.slow
def test_import_writes_a_model_and_says_what_became_of_each_class(classifier, tmp_path, models):
    code, lines, _ = models("import", classifier, "-o", tmp_path / "model", "--license", "mit", "--license-terms", "Free.", "--name", "tiny")
    assert code == 0
    assert "  Happiness -> Happiness" in lines
    assert "  Contempt -> left out: its probability is removed, and the others are renormalized" in lines
    assert lines[-2:] == ["note: Free.", f"model: {tmp_path}/model"]
    with open_bundle(str(tmp_path / "model")) as opened:
        assert (opened.metadata.name, opened.metadata.license.id, opened.metadata.kind) == ("tiny", "mit", "image")


@pytest.mark.slow
def test_import_and_export_keep_a_folder_that_is_not_empty(classifier, bundle, tmp_path, models):
    (tmp_path / "notes.txt").write_text("mine")
    for args in (("import", classifier), ("export", bundle)):
        code, _, (error,) = models(*args, "-o", tmp_path)
        assert code == 2 and error == f"error: {tmp_path}: is not empty, it has notes.txt; choose another folder with -o"
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_a_failed_import_leaves_no_files(classifier, tmp_path, models):
    code, _, (error,) = models("import", classifier, "-o", tmp_path / "model", "--labels", "a,b")
    assert code == 2 and "has 2 names" in error
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_show_prints_license_data_scores_sizes_and_settings(bundle, models):
    code, lines, _ = models("show", bundle)
    text = "\n".join(lines)
    assert code == 0 and lines[0] == "tiny"
    for part in (
        "audio-visual",
        "yes: ",
        "apache-2.0: Free to use.",
        "generated faces",
        "five folds 0.500",
        "2 models, protocol cv",
        "mean over 0.4 s",
    ):
        assert part in text
    assert lines[-2:] == ["note: This model was trained on generated faces: its predictions on real faces mean nothing.", "note: Free to use."]


@pytest.mark.slow
def test_show_prints_the_classes_of_a_classifier_and_json_has_every_value(classifier, tmp_path, models):
    models("import", classifier, "-o", tmp_path / "model", "--contempt", "other")
    code, lines, _ = models("show", tmp_path / "model")
    assert code == 0 and any("Contempt -> Other" in line for line in lines)
    shown = json.loads("\n".join(models("show", tmp_path / "model", "--json")[1]))
    assert shown["complete"] is True and shown["classifier"]["input_size"] == 64 and shown["license"]["id"] == "other"
    assert shown["size"]["bytes"] == sum(file["size"] for file in shown["files"].values()) > shown["size"]["parts"]["classifier"]


@pytest.mark.slow
def test_show_says_what_is_wrong_with_a_damaged_model(bundle, tmp_path, models):
    copy = shutil.copytree(bundle, tmp_path / "model")
    (copy / "encoder/config.json").write_text("{}")
    code, lines, _ = models("show", copy)
    assert code == 1 and any("no: " in line and "encoder/config.json has 2 bytes" in line for line in lines)
    assert models("show", tmp_path / "none")[0] == 2


@pytest.mark.slow
def test_a_model_in_an_object_store_is_shown_and_exported(bundle, tmp_path, object_store, models):
    object_store.create_bucket(Bucket="models")
    endpoint = object_store.meta.endpoint_url
    storage = Storage(StorageConfig(uri="s3://models", endpoint=endpoint))
    upload_bundle(bundle, storage, "run/model")
    assert any("yes: " in line and "with their sizes" in line for line in models("show", "s3://models/run/model")[1])
    assert models("export", "s3://models/run/model", "-o", tmp_path / "copy")[:2][0] == 0
    names = [path.relative_to(bundle) for path in bundle.rglob("*") if path.is_file()]
    assert all((tmp_path / "copy" / name).read_bytes() == (bundle / name).read_bytes() for name in names)
    assert models("export", tmp_path / "copy", "-o", "s3://models/again")[0] == 0
    storage.delete("again/encoder/config.json")
    code, lines, _ = models("show", "s3://models/again")
    assert code == 1 and any("no: encoder/config.json is missing" in line for line in lines)


@pytest.mark.slow
def test_export_copies_the_listed_files_only_and_the_encoder_alone_for_timm(bundle, tmp_path, models):
    source = shutil.copytree(bundle, tmp_path / "source")
    (source / "notes.txt").write_text("mine")
    models("export", source, "-o", tmp_path / "copy")
    assert not (tmp_path / "copy/notes.txt").exists() and (tmp_path / "copy/bundle.json").exists()
    code, lines, _ = models("export", source, "-o", tmp_path / "encoder", "--parts", "encoder")
    assert code == 0 and lines[-1] == f"encoder: {tmp_path}/encoder"
    assert {path.name for path in (tmp_path / "encoder").iterdir()} == {"config.json", "model.safetensors"}
    assert timm.create_model(f"local-dir:{tmp_path}/encoder", pretrained=True).num_classes == 0


@pytest.mark.slow
def test_a_classifier_has_no_separate_encoder(classifier, tmp_path, models):
    models("import", classifier, "-o", tmp_path / "model")
    code, _, (error,) = models("export", tmp_path / "model", "-o", tmp_path / "encoder", "--parts", "encoder")
    assert code == 2 and error.endswith("is an image classifier without a separate encoder; use --parts all")


def test_a_word_and_an_option_are_the_same():
    assert settings_of(["show", "x"]) == settings_of(["show", "--model", "x"])
    assert settings_of(["import", "x", "--labels=-,happy"]).labels == "-,happy"
    with pytest.raises(ConfigError, match="no source is given"):
        settings_of(["import", "-o", "x"])


@pytest.mark.slow
def test_a_model_on_the_model_hub_is_shown_without_its_weights_and_exported(classifier, tmp_path, models, model_hub):
    models("import", classifier, "-o", tmp_path / "model")
    files = {path.relative_to(tmp_path / "model"): path.read_bytes() for path in (tmp_path / "model").rglob("*") if path.is_file()}
    model_hub.files |= {path.name: content for path, content in files.items()}
    code, lines, _ = models("show", "owner/name")
    assert code == 0 and any("not known: it is verified when it is used or exported" in line for line in lines)
    assert not [request for request in model_hub.requests if "safetensors" in request]
    assert models("export", "owner/name", "-o", tmp_path / "copy")[0] == 0
    assert {path: (tmp_path / "copy" / path).read_bytes() for path in files} == files
