"""``abaw-ray models``: imports a public image classifier, shows what a model is, and copies one."""

import difflib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from abaw_ray.cli.arguments import CommandLine, parse
from abaw_ray.cli.help import Page, show
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.predict.config import ClassifierConfig

_OUTPUT = StorageConfig(uri="model")


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Settings of ``models import``."""

    source: str = ""
    """The classifier: a folder or file of weights, a URI, or owner/name on the model hub."""
    storage: StorageConfig = _OUTPUT
    """Where the model goes."""
    labels: str = ""
    """Names of the classes in the order of the outputs, comma-separated; - leaves a class out. Empty uses those of the checkpoint."""
    contempt: Literal["drop", "other"] = "drop"
    """The class Contempt: drop removes it and renormalizes the others, other adds it to Other."""
    license: str = ""
    """Identifier of the license, such as mit. Empty uses that of the model card."""
    license_terms: str = ""
    """One sentence about what the weights may be used for; every result shows it."""
    name: str = ""
    """Name of the model. Empty uses the last part of the source."""
    crop_scale: float = ClassifierConfig.crop_scale
    """Side of the square crop over the longer side of the face box: how much around the face the training images of the classifier showed."""

    def __post_init__(self) -> None:
        """Refuse terms without a license."""
        if self.license_terms and not self.license:
            raise ConfigError("--license-terms: needs --license with the identifier of the license, or other")


@dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """Settings of ``models show``."""

    model: str = ""
    """The model: a folder, a URI, or owner/name on the model hub."""
    json: bool = False
    """Print all values as JSON."""
    storage: StorageConfig = field(default_factory=StorageConfig)
    """Settings of object stores; its uri is not used."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Settings of ``models export``."""

    model: str = ""
    """The model: a folder, a URI, or owner/name on the model hub."""
    storage: StorageConfig = _OUTPUT
    """Where the copy goes."""
    parts: Literal["all", "encoder"] = "all"
    """What is copied: everything, or the encoder alone, a folder that timm loads."""


_IMPORT = CommandLine(
    page=Page(
        command="abaw-ray models import",
        does="Make a model from a public image classifier of facial expressions, in the format of timm or transformers.",
        arguments="SOURCE [options]",
        examples=(
            "abaw-ray models import owner/name -o model",
            "abaw-ray models import checkpoints/best.pt --labels angry,disgust,fear,happy,sad,surprise,neutral --license mit",
        ),
        everyday=("storage.uri", "labels", "contempt", "license", "license-terms", "name", "crop-scale", "storage.endpoint"),
        notes=("Weights are read as safetensors, or as PyTorch files with tensors only; files that could run code are refused.",),
    ),
    default=ImportConfig(),
    word="source",
)
_SHOW = CommandLine(
    page=Page(
        command="abaw-ray models show",
        does="Print what a model is: kind, license, training data, scores, sizes, settings, and whether it is complete.",
        arguments="MODEL [options]",
        examples=("abaw-ray models show runs/demo/model", "abaw-ray models show s3://bucket/run/model --json"),
        everyday=("json", "storage.endpoint"),
        notes=("The exit code is 1 if the model is not complete.",),
    ),
    default=ShowConfig(),
    word="model",
)
_EXPORT = CommandLine(
    page=Page(
        command="abaw-ray models export",
        does="Copy a verified model, or its encoder alone, to a folder or URI.",
        arguments="MODEL [options]",
        examples=("abaw-ray models export s3://bucket/run/model -o model", "abaw-ray models export model --parts encoder -o encoder"),
        everyday=("storage.uri", "parts", "storage.endpoint"),
    ),
    default=ExportConfig(),
    word="model",
)
LINES: dict[str, CommandLine[Any]] = {"import": _IMPORT, "show": _SHOW, "export": _EXPORT}
"""Name of a subcommand -> its arguments."""


def main(name: str, args: list[str]) -> int:
    """Run a subcommand.

    Returns:
        The exit code: 1 if a shown model is not complete, 2 without a subcommand, else 0.
    """
    if not args or args[0] in ("-h", "--help", "--help-all"):
        show(_overview(full="--help-all" in args))
        return 0 if args else 2
    return _RUN[args[0]](settings_of(args)) if args[0] in _RUN else _unknown(args[0])


def settings_of(args: list[str]) -> Any:
    """The settings of a subcommand, whose name is the first argument.

    Raises:
        ConfigError: an unknown option or value, or no model.
    """
    line = LINES[args[0]]
    settings = parse(line, args[1:])
    if not getattr(settings, line.word):
        raise ConfigError(f"{line.page.command}: no {line.word} is given, for example: {line.page.examples[0]}")
    return settings


def _unknown(word: str) -> int:
    similar = difflib.get_close_matches(word, LINES, n=1)
    raise ConfigError(f"abaw-ray models {word}: " + (f"did you mean {similar[0]}?" if similar else f"choose {', '.join(LINES)}"))


def _overview(*, full: bool) -> str:
    if full:
        return "\n\n".join(line.page.text(line.default, {}, full=True) for line in LINES.values())
    head = ["usage: abaw-ray models COMMAND [options]", "", "Models of facial expressions: a folder of safetensors and JSON.", "", "commands"]
    commands = [f"  {name.ljust(6)}  {line.page.does}" for name, line in LINES.items()]
    examples = [f"  {line.page.examples[0]}" for line in LINES.values()]
    help_lines = ["options", "  -h, --help", "        This page; abaw-ray models COMMAND --help for the options of one command."]
    return "\n".join([*head, *commands, "", "examples", *examples, "", *help_lines, "  --help-all", "        All options of all three."])


def _import(config: ImportConfig) -> int:
    from abaw_ray.core.licenses import License
    from abaw_ray.core.storage.local_disk import disk_full_to_storage_error
    from abaw_ray.core.storage.storage import Storage
    from abaw_ray.predict.bundle.copy import check_empty, copy_files
    from abaw_ray.predict.bundle.image import ImportOptions, write_image
    from abaw_ray.predict.bundle.metadata import METADATA_FILE

    storage = Storage(config.storage)
    check_empty(storage)
    terms = config.license_terms or f"License given at import: {config.license}."
    options = ImportOptions(
        labels=config.labels,
        contempt=config.contempt,
        license=License(id=config.license, terms=terms) if config.license else None,
        name=config.name,
        crop_scale=config.crop_scale,
    )
    with disk_full_to_storage_error(), tempfile.TemporaryDirectory(prefix="abaw-model-") as folder:
        metadata = write_image(Path(folder), config.source, options, config.storage)
        copy_files(Path(folder), {name: name for name in (*metadata.files, METADATA_FILE)}, storage)
    assert metadata.classifier is not None  # this kind has one
    for label, expression in zip(metadata.classifier.labels, metadata.classifier.expressions, strict=True):
        print(f"  {label} -> {expression or 'left out: its probability is removed, and the others are renormalized'}")
    print("\n".join([*(f"note: {text}" for text in metadata.notices), f"model: {storage.uri()}"]))
    return 0


def _show(config: ShowConfig) -> int:
    from abaw_ray.predict.bundle.describe import describe

    found = describe(config.model, config.storage)
    print(json.dumps(found.to_plain(), indent=1) if config.json else "\n".join(found.lines()))
    return 1 if found.complete is False else 0


def _export(config: ExportConfig) -> int:
    from abaw_ray.core.storage.storage import Storage
    from abaw_ray.predict.bundle.copy import check_empty, copy_bundle
    from abaw_ray.predict.bundle.store import open_bundle

    storage = Storage(config.storage)
    check_empty(storage)
    with open_bundle(config.model, config.storage) as bundle:
        copy_bundle(bundle, storage, config.parts)
        print("\n".join([*(f"note: {text}" for text in bundle.metadata.notices), f"{config.parts}: {storage.uri()}"]))
    return 0


_RUN: dict[str, Callable[[Any], int]] = {"import": _import, "show": _show, "export": _export}
