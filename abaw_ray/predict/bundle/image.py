"""Makes the bundle of a public image classifier: its network as it is, its settings, and its license."""

import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from huggingface_hub import ModelCardData

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.file_digest import file_sha256
from abaw_ray.core.licenses import License
from abaw_ray.core.settings import digest
from abaw_ray.core.stage_store.provenance import versions
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.faces.config import ChipConfig, FacesConfig
from abaw_ray.predict.bundle.metadata import CLASSIFIER_FOLDER, BundleMetadata
from abaw_ray.predict.bundle.store import finish_bundle
from abaw_ray.predict.classifiers.labels import Contempt, map_labels, split_labels
from abaw_ray.predict.classifiers.network import framework_of, load_network
from abaw_ray.predict.classifiers.preprocessing import timm_preprocessing, transformers_preprocessing
from abaw_ray.predict.classifiers.source import WEIGHTS_FILE, CheckpointFiles, class_names, copy_checkpoint
from abaw_ray.predict.config import ClassifierConfig
from abaw_ray.scoring.config import SmoothingConfig
from abaw_ray.scoring.postprocessing import Postprocessing

NOT_STATED = License(id="other", terms="License not stated by the source; check it before you use the model.")
_SMOOTHING = SmoothingConfig(kind="mean", window_s=0.4)
"""Ours: short, because the best window is not known without annotated videos."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What the checkpoint does not state, or what replaces what it states."""

    labels: str = ""
    """Names of the classes, comma-separated; empty uses those of the checkpoint."""
    contempt: Contempt = "drop"
    """As for ``map_labels``."""
    license: License | None = None
    """License of the weights; None uses that of the model card."""
    name: str = ""
    """Name of the model; empty uses the last part of the source."""
    crop_scale: float = ClassifierConfig.crop_scale
    """As ``ClassifierConfig.crop_scale``."""


def write_image(folder: Path, source: str, options: ImportOptions | None = None, storage: StorageConfig | None = None) -> BundleMetadata:
    """Write the bundle of an image classifier into an empty local folder.

    Args:
        folder: The folder.
        source: As for ``copy_checkpoint``.
        options: What the checkpoint does not state.
        storage: Settings of object stores.

    Returns:
        The complete metadata.

    Raises:
        ConfigError: there is no such source, its classes have no usable names, or its input is not supported.
        DataError: a file is damaged, is a pickled model, or does not fit its architecture.
        StorageError: the store cannot be read.
    """
    options, network = options or ImportOptions(), folder / CLASSIFIER_FOLDER
    network.mkdir(parents=True)
    files = copy_checkpoint(source, network, storage)
    classifier = _classifier(network, files, source, options)
    weights = file_sha256(network / WEIGHTS_FILE)
    license_ = options.license or stated_license(files.card)
    metadata = BundleMetadata(
        kind="image",
        name=options.name or PurePosixPath(source.rstrip("/")).name,
        license=license_,
        training_data=_data_sets(files.card),
        is_synthetic=False,
        faces=FacesConfig(chips=ChipConfig(scales=(classifier.crop_scale,), size=classifier.resize)),
        classifier=classifier,
        postprocessing=Postprocessing(smoothing=_SMOOTHING),
        versions=versions(),
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    return finish_bundle(folder, replace(metadata, identity=digest([weights, files.config, classifier, metadata.name, license_])))


def _classifier(folder: Path, files: CheckpointFiles, source: str, options: ImportOptions) -> ClassifierConfig:
    framework = framework_of(files.config, source)
    labels = class_names(files.config, source)
    if options.labels:
        labels = split_labels(options.labels, len(labels), source)
    expressions = map_labels(labels, contempt=options.contempt, source=source)
    network = load_network(folder, framework, source).network
    prepare = timm_preprocessing(network, source) if framework == "timm" else transformers_preprocessing(files.preprocessor, source)
    try:
        return ClassifierConfig(framework=framework, labels=labels, expressions=expressions, crop_scale=options.crop_scale, **prepare)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


def stated_license(card: ModelCardData) -> License:
    """The license in the front matter of a model card."""
    stated, name = _one_line(card.license), _one_line(getattr(card, "license_name", None))
    if not stated:
        return NOT_STATED
    named = f"{stated} ({name})" if name and stated == "other" else stated
    return License(id=stated, terms=f"License stated by the source: {named}; the data sets that trained it may restrict its use further.")


def _data_sets(card: ModelCardData) -> tuple[str, ...]:
    stated = [card.datasets] if isinstance(card.datasets, str) else card.datasets or []
    return tuple(filter(None, map(_one_line, stated)))


def _one_line(text: object) -> str:
    """Text of a model card, which is printed on terminals; empty where it is no text."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())[:80] if isinstance(text, str) else ""
