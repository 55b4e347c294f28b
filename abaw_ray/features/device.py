"""Selection of the device of the feature models.

On a GPU both models run in bfloat16, on a CPU in float32; the vectors agree to about two digits and are stored in half precision.
"""

import cv2
import torch

from abaw_ray.core.errors import ConfigError
from abaw_ray.features.config import DeviceConfig


def setup_device(config: DeviceConfig) -> torch.device:
    """The device of this process, after setting its number of threads.

    Raises:
        ConfigError: a GPU is requested and none is available.
    """
    available = torch.cuda.is_available()
    if config.device == "cuda" and not available:
        raise ConfigError("device.device=cuda, but this process has no GPU; assign one to its worker, or use auto")
    torch.set_num_threads(config.threads)
    cv2.setNumThreads(config.threads)
    return torch.device("cuda" if available and config.device != "cpu" else "cpu")
