"""Opens a model bundle and loads the models in it."""

from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.features.config import DeviceConfig
from abaw_ray.predict.bundle.metadata import BundleMetadata
from abaw_ray.predict.bundle.store import open_bundle
from abaw_ray.predict.models.scores import FrameModel


def load_model(model: str, device: DeviceConfig | None = None, storage: StorageConfig | None = None) -> tuple[FrameModel, BundleMetadata]:
    """Load the models of a bundle; imports the tensor libraries.

    Args:
        model: As for ``open_bundle``.
        device: Device and batch sizes.
        storage: Settings of object stores.

    Raises:
        ConfigError: there is no such bundle, or the device does not exist.
        DataError: it is damaged, or no bundle.
        StorageError: the store cannot be read.
    """
    with open_bundle(model, storage) as bundle:
        if bundle.metadata.kind == "image":
            from abaw_ray.predict.models.image_classifier import ImageClassifierModel

            return ImageClassifierModel(bundle, device), bundle.metadata
        from abaw_ray.predict.models.audio_visual import AudioVisualModel

        return AudioVisualModel(bundle, device, storage), bundle.metadata
