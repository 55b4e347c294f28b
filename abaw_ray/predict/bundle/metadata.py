"""The content of ``bundle.json``: everything about a model bundle that is not weights."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.licenses import License
from abaw_ray.core.settings import from_plain, to_plain
from abaw_ray.faces.config import FacesConfig
from abaw_ray.features.config import FeaturesConfig
from abaw_ray.predict.config import ClassifierConfig
from abaw_ray.scoring.postprocessing import Postprocessing

METADATA_FILE = "bundle.json"
ENCODER_FOLDER, SPEECH_FOLDER, FUSION_FOLDER = "encoder", "speech", "fusion"
CLASSIFIER_FOLDER = "classifier"
FORMAT = "abaw_ray.model"
FORMAT_VERSION = 1
"""Raised when an older version of this package cannot read the bundle."""


@dataclass(frozen=True, kw_only=True)
class BundleFile:
    """One file of a bundle."""

    size: int
    """Bytes."""
    sha256: str
    """Hexadecimal digest of its content."""


@dataclass(frozen=True, kw_only=True)
class BundleMetadata:
    """Description of a model bundle."""

    format: str = FORMAT
    """Identifies the file format."""
    format_version: int = FORMAT_VERSION
    """Version of the file format."""
    kind: Literal["audio-visual", "image"]
    """``audio-visual``: encoder, speech model and fusion models. ``image``: one image classifier, without audio."""
    name: str
    """Name of the model, for people."""
    license: License
    """What the weights may be used for."""
    training_data: tuple[str, ...]
    """Names of the data sets whose labels trained it."""
    is_synthetic: bool
    """Whether it was trained on generated faces: its predictions on real faces mean nothing."""
    protocol: str = ""
    """``cv``: the fusion models of five folds over train and validation, averaged; ``official``: that of Train_Set alone."""
    expressions: tuple[str, ...] = EXPRESSIONS
    """Order of the probabilities."""
    faces: FacesConfig = field(default_factory=FacesConfig)
    """Detector, tracking and chips as in training."""
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    """Both feature vectors as in training; ``speech.weights`` is a repository on the model hub, or ``speech``, a folder of the bundle."""
    fusion: tuple[str, ...] = ()
    """Folders of the fusion models."""
    classifier: ClassifierConfig | None = None
    """The image classifier of kind ``image``."""
    postprocessing: Postprocessing = field(default_factory=Postprocessing)
    """Smoothing and calibration."""
    scores: dict[str, Any] = field(default_factory=dict)
    """Metrics of the training run by name."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of the packages that wrote it."""
    created: str = ""
    """UTC time, ISO 8601."""
    identity: str = ""
    """Digest of what it was made from."""
    files: dict[str, BundleFile] = field(default_factory=dict)
    """All other files by path below the bundle's folder."""

    def to_json(self) -> bytes:
        """The content of ``bundle.json``."""
        return json.dumps(to_plain(self), indent=1).encode()

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences that every result of this model must show."""
        synthetic = ("This model was trained on generated faces: its predictions on real faces mean nothing.",) if self.is_synthetic else ()
        return (*synthetic, self.license.terms)


def read_metadata(path: Path, model: str) -> BundleMetadata:
    """Read ``bundle.json``.

    Args:
        path: The file.
        model: Name of the bundle, for messages.

    Raises:
        DataError: it is damaged, of another kind, or of a newer version.
    """
    try:
        plain = json.loads(path.read_text())
        if not isinstance(plain, dict) or plain.get("format") != FORMAT:
            raise DataError(
                f"{model}: its {METADATA_FILE} does not describe a model of this package; give the folder that the pipeline wrote as model/"
            )
        if plain.get("format_version") != FORMAT_VERSION:
            version = plain.get("format_version")
            raise DataError(
                f"{model}: has format version {version}, this package reads version {FORMAT_VERSION}; use the version that wrote the model"
            )
        metadata = from_plain(BundleMetadata, plain, METADATA_FILE)
    except (ConfigError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{model}: its {METADATA_FILE} cannot be read: {' '.join(str(error).split())[:200]}; copy the model again") from error
    if metadata.expressions != EXPRESSIONS:
        raise DataError(f"{model}: its expressions are {', '.join(metadata.expressions)}, not {', '.join(EXPRESSIONS)}; train it with this package")
    return metadata
