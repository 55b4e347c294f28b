"""What a model bundle is, without loading its networks: values for programs, and lines for people."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.settings import to_plain
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.weights import WeightsSource
from abaw_ray.predict.bundle.metadata import METADATA_FILE, BundleMetadata, read_metadata
from abaw_ray.predict.bundle.store import REMEDY, open_bundle


@dataclass(frozen=True, kw_only=True)
class Description:
    """A bundle as ``abaw-ray models show`` prints it."""

    metadata: BundleMetadata
    """Its description."""
    complete: bool | None
    """Whether all files are there and unchanged; None where that is not known without a download."""
    check: str
    """How that was checked, or what is wrong."""

    def to_plain(self) -> dict[str, Any]:
        """All values, for JSON: those of ``bundle.json``, sizes in bytes, notices, and whether the bundle is complete."""
        sizes = {"bytes": self.size, "parts": self.parts}
        return {"complete": self.complete, "check": self.check, **to_plain(self.metadata), "notices": list(self.metadata.notices), "size": sizes}

    @property
    def size(self) -> int:
        """Bytes of all files but ``bundle.json``."""
        return sum(file.size for file in self.metadata.files.values())

    @property
    def parts(self) -> dict[str, int]:
        """Bytes of each folder of the bundle."""
        sizes: Counter[str] = Counter()
        for name, file in self.metadata.files.items():
            if "/" in name:
                sizes[name.partition("/")[0]] += file.size
        return dict(sizes)

    def lines(self) -> list[str]:
        """The description in lines of plain text."""
        metadata = self.metadata
        complete = {True: "yes", False: "no", None: "not known"}[self.complete]
        rows = {
            "kind": "audio-visual" if metadata.kind == "audio-visual" else "image classifier, without audio",
            "complete": f"{complete}: {self.check}",
            "license": f"{metadata.license.id}: {metadata.license.terms}",
            "trained on": ", ".join(metadata.training_data) or "not stated",
            "scores": ", ".join(f"{name} {value:.3f}" for name, value in metadata.scores.items()) or "none",
            "size": f"{_megabytes(self.size)} ({', '.join(f'{name} {_megabytes(size)}' for name, size in self.parts.items())})",
            "faces": _faces(metadata),
            **_inputs(metadata),
            "smoothing": _smoothing(metadata),
            "created": metadata.created or "not stated",
        }
        width = max(map(len, rows))
        return [metadata.name, *(f"  {name.ljust(width)}  {text}" for name, text in rows.items()), *(f"note: {text}" for text in metadata.notices)]


def describe(model: str, storage: StorageConfig | None = None) -> Description:
    """The description of a bundle. A local one is verified; of one in an object store, names and sizes of files are compared.

    Args:
        model: As for ``open_bundle``.
        storage: Settings of object stores.

    Raises:
        ConfigError: there is no such bundle.
        DataError: its ``bundle.json`` is damaged, or it is no bundle.
        StorageError: the store cannot be read.
    """
    if not model:
        raise ConfigError(f"no model was given; {REMEDY}")
    source = WeightsSource(setting="model", value=model, remedy=REMEDY, storage=storage or StorageConfig())
    with source.local_files(METADATA_FILE, lambda _: ()) as folder:
        metadata = read_metadata(folder / METADATA_FILE, model)
    if source.hub_repository:
        return Description(metadata=metadata, complete=None, check="it is verified when it is used or exported")
    if source.is_local:
        try:
            with open_bundle(model, storage):
                return Description(metadata=metadata, complete=True, check=f"{len(metadata.files)} files, with their SHA-256 digests")
        except (ConfigError, DataError) as error:
            return Description(metadata=metadata, complete=False, check=str(error))
    stored = source.store.files("", recursive=True)
    wrong = [name for name, file in metadata.files.items() if stored.get(name) != file.size]
    if wrong:
        return Description(metadata=metadata, complete=False, check=f"{wrong[0]} is missing or of another size; copy the model again")
    return Description(metadata=metadata, complete=True, check=f"{len(metadata.files)} files, with their sizes")


def _faces(metadata: BundleMetadata) -> str:
    chips = metadata.faces.chips
    scales = ", ".join(f"{scale:g}" for scale in chips.scales)
    return f"detector {metadata.faces.detector.kind}, crops of {scales} times the face, {chips.size} pixels"


def _inputs(metadata: BundleMetadata) -> dict[str, str]:
    """What differs between the kinds."""
    classifier = metadata.classifier
    if classifier is None:
        speech = metadata.features.speech
        protocol = f", protocol {metadata.protocol}" if metadata.protocol else ""
        layers = " ".join(map(str, speech.layer)) if isinstance(speech.layer, tuple) else speech.layer
        return {"speech": f"{speech.weights}, layer {layers}, window {speech.window_s:g} s", "fusion": f"{len(metadata.fusion)} models{protocol}"}
    pairs = ", ".join(f"{label} -> {name or 'left out'}" for label, name in zip(classifier.labels, classifier.expressions, strict=True))
    return {"network": f"{classifier.framework}, input of {classifier.input_size} pixels", "classes": pairs}


def _smoothing(metadata: BundleMetadata) -> str:
    smoothing, calibration = metadata.postprocessing.smoothing, metadata.postprocessing.calibration
    return f"{smoothing.kind} over {smoothing.window_s:g} s, temperature {calibration.temperature:.3g}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
