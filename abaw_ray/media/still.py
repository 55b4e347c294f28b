"""An image file -> one frame, upright and in 8-bit RGB, as the frames of a video: JPEG, PNG, WebP, BMP, TIFF, GIF.

The frame has number 1 and time 0. Of an animated file it is the first image.
"""

import io
import warnings
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from abaw_ray.core.errors import ItemError
from abaw_ray.core.storage.filesystems import is_remote
from abaw_ray.media.frame import Converter, Frame
from abaw_ray.media.remote import RemoteFile
from abaw_ray.media.source import checked_path

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""Pillow's names; others, such as PostScript, would run other programs."""
_MAX_BYTES = 1 << 29
"""Bytes of a file; ours."""
_MAX_PIXELS = 100_000_000
"""Pixels of an image, which take 1 GB in all while it is converted: half of the default memory limit of a child process. Ours."""
_BACKGROUND = (255, 255, 255)
"""White behind transparent pixels, as image viewers show them. Ours."""
_DEPTH_16 = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Pillow's modes for gray images of 16 bits."""


def read_still(uri: str) -> Frame:
    """Read an image.

    EXIF orientation is applied, transparent pixels are blended with white, gray and CMYK images are converted to RGB, 16 bits are reduced to 8.
    Color profiles are ignored.

    Args:
        uri: A local path or a URI that pyarrow understands.

    Raises:
        MissingError: there is no such file.
        StorageError: the store cannot be reached.
        ItemError: not an image, a damaged or truncated one, or one of more than 100 million pixels.

    Source: ours.
    """
    image = av.VideoFrame.from_ndarray(_decode(_read(uri)), format="rgb24")
    return Frame(1, 0.0, image, Converter())


def _read(uri: str) -> bytes:
    """The file's content; its size is checked first."""
    if not is_remote(uri):
        path = Path(checked_path(uri))
        _check_size(path.stat().st_size)
        return path.read_bytes()
    file = RemoteFile(uri)
    try:
        _check_size(file.size)
        blocks = []
        while block := file.read(_MAX_BYTES):
            blocks.append(block)
        file.check()
        if file.failure is not None:
            raise file.failure
        return b"".join(blocks)
    finally:
        file.close()


def _check_size(size: int) -> None:
    if size > _MAX_BYTES:
        raise ItemError(f"the file has {size >> 20:,} MiB, more than {_MAX_BYTES >> 20}; save the image at a smaller size")


def _decode(data: bytes) -> UInt8[np.ndarray, "height width 3"]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged metadata, and of many pixels, which are checked here
        try:
            Image.init()  # ``formats`` may name loaded readers only
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                if image.width * image.height > _MAX_PIXELS:
                    size = f"{image.width:,} x {image.height:,} pixels"
                    raise ItemError(f"the image has {size}, more than {_MAX_PIXELS // 10**6} million; save it at a smaller size")
                image.load()
                return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))
        except UnidentifiedImageError as error:
            raise ItemError("not an image that can be read; save it as JPEG or PNG") from error
        except Image.DecompressionBombError as error:
            raise ItemError(f"the image has more than {_MAX_PIXELS // 10**6} million pixels; save it at a smaller size") from error
        except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's readers raise for damaged files
            raise ItemError(f"the image is damaged ({' '.join(str(error).split())})") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _DEPTH_16:
        wide = np.asarray(image).astype(np.float32)
        return Image.fromarray(np.clip(np.round(wide / 257), 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ItemError("the image has floating-point pixels, whose range is unknown; save it with 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, (*_BACKGROUND, 255))
        return Image.alpha_composite(background, image).convert("RGB")
    return image.convert("RGB")
