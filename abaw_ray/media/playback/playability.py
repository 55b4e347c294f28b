"""The header of a video -> whether the current browsers play it as it is, in sync with its table; else the reason why it needs a proxy.

Current browsers are Chrome, Edge, Firefox and Safari of the last two years. The rules are those that all of them share, and rather too strict: a
proxy costs some minutes, a video that does not play costs the user the page. Damage inside the file is not examined.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

import av
from av.stream import Disposition

from abaw_ray.core.errors import ItemError
from abaw_ray.media.source import Source, open_media

_CONTAINERS = {
    ".mp4": ("mov,mp4,m4a,3gp,3g2,mj2", ("h264", "vp9", "av1"), ("aac", "mp3", "opus")),
    ".m4v": ("mov,mp4,m4a,3gp,3g2,mj2", ("h264",), ("aac", "mp3")),
    ".mov": ("mov,mp4,m4a,3gp,3g2,mj2", ("h264",), ("aac", "mp3")),
    ".webm": ("matroska,webm", ("vp8", "vp9", "av1"), ("vorbis", "opus")),
}
"""By suffix, from which servers and browsers derive the media type: libav's name of the container, and the codecs of video and audio."""
_PIXELS = ("yuv420p", "yuvj420p")
"""8 bits, 4:2:0. Other formats play in some browsers only, depending on the machine."""
_H264_PROFILES = ("Baseline", "Constrained Baseline", "Main", "Constrained High", "High", "Progressive High")
_AAC_PROFILES = ("LC", "HE-AAC", "HE-AACv2")
_MAX_SIDE = 4096
"""Pixels: the decoders of operating systems and phones support no larger H.264."""
_MAX_START = 0.01
"""Seconds by which the first frame or block may be away from 0: Chromium starts its clock at 0 of the file's clock, Firefox at the first frame or
block, so only for a file that starts at 0 is the time the same in both."""


@dataclass(frozen=True)
class Playability:
    """Whether browsers play a file as it is."""

    reason: str = ""
    """Why it needs a proxy; empty where it plays. Its time is then the table's time."""

    @property
    def plays(self) -> bool:
        """Whether the file plays."""
        return not self.reason


def check_playability(uri: str) -> Playability:
    """Read the header and compare it with what all browsers play.

    Args:
        uri: A local path or a URI that pyarrow understands.

    Raises:
        MissingError: there is no such file.
        StorageError: the store cannot be reached.
        ItemError: the file is not a video.

    Source: ours; the start of the clock was measured with Chromium 150 (``docs/playback.md``).
    """
    with open_media(uri) as source:
        return playability(source)


def playability(source: Source) -> Playability:
    """As ``check_playability``, for an open file.

    Raises:
        ItemError: the file has no video stream.
    """
    suffix, container = PurePosixPath(source.uri).suffix.lower(), source.container
    videos = video_streams(source)
    if suffix not in _CONTAINERS or container.format.name != _CONTAINERS[suffix][0]:
        return Playability(f"container {container.format.name.split(',')[0]} in a file that ends in {suffix or 'nothing'}")
    if len(videos) > 1:
        return Playability("several video streams, of which a browser may show another one")
    _, video_codecs, audio_codecs = _CONTAINERS[suffix]
    reason = _video_reason(videos[0], video_codecs) or _audio_reason(container.streams.audio, audio_codecs)
    if not reason and container.start_time is not None and abs(container.start_time / av.time_base) > _MAX_START:
        reason = f"its clock starts at {container.start_time / av.time_base:.3f} s, where browsers differ"
    return Playability(reason)


def video_streams(source: Source) -> list[av.VideoStream]:
    """The video streams without cover images.

    Raises:
        ItemError: there is none.
    """
    videos = [stream for stream in source.container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not videos:
        raise ItemError("the file has no video stream")
    return videos


def _video_reason(stream: av.VideoStream, codecs: tuple[str, ...]) -> str:
    context = stream.codec_context
    name = stream.codec_context.codec.canonical_name if context is not None else "unknown"
    if context is None or name not in codecs:
        return f"video codec {name}"
    if context.pix_fmt not in _PIXELS:
        return f"pixel format {context.pix_fmt}, not 8 bits 4:2:0"
    if name == "h264" and context.profile not in _H264_PROFILES:
        return f"H.264 profile {context.profile}"
    if max(context.width, context.height) > _MAX_SIDE:
        return f"{context.width} x {context.height} pixels, more than {_MAX_SIDE}"
    return ""


def _audio_reason(streams: tuple[av.AudioStream, ...], codecs: tuple[str, ...]) -> str:
    """The reason of the first stream that does not play: a browser may choose any of them."""
    for stream in streams:
        context = stream.codec_context
        name = context.codec.canonical_name if context is not None else "unknown"
        if name not in codecs:
            return f"audio codec {name}"
        if name == "aac" and context.profile not in _AAC_PROFILES:
            return f"AAC profile {context.profile}"
    return ""
