"""A path, URI or hub name of SFace's weights -> their bytes, verified; fetched and cached as those of YuNet (``detection/weights.py``)."""

from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.weights import WeightsSource
from abaw_ray.faces.detection.weights import verified_weights
from abaw_ray.faces.identity.config import SFACE_HUB

SFACE_FILE = "face_recognition_sface_2021dec.onnx"
"""From OpenCV's model zoo (Apache 2.0 license), 37 MB."""
# As published; the file was not at hand when this was written, so the digest is not verified. If the true file is refused, correct it here.
SFACE_SHA256 = "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79"
_REMEDY = f"set faces.people.weights to the path of {SFACE_FILE} (SHA-256 {SFACE_SHA256[:12]}...), or to none"


def sface_weights(value: str, storage: StorageConfig | None = None) -> bytes:
    """Return the weights, verified.

    Args:
        value: A source of weights (``core.storage.weights``), as for ``yunet_weights``.
        storage: Settings of object stores, for a URI.

    Raises:
        ConfigError: the file does not exist, the hub does not respond within seconds, or it is another file; the message says what to do.
        StorageError: the object store cannot be reached.
    """
    source = WeightsSource(setting="faces.people.weights", value=value, repository=SFACE_HUB, remedy=_REMEDY, storage=storage or StorageConfig())
    return verified_weights(source, SFACE_FILE, SFACE_SHA256)
