"""Prints one line of JSON for each file: the frames of a plain PyAV loop, and those of ``decode`` and ``decode_audio``.

Run it in a separate process: a file may crash it, and it ends itself if a file takes too long.
"""

import json
import signal
import sys
import zlib

import av
from av.stream import Disposition

from abaw_ray.core.errors import ItemError
from abaw_ray.media.audio import decode_audio
from abaw_ray.media.video import decode

SECONDS = 20
"""Time limit for one file."""


def checksum(frame: av.VideoFrame) -> int:
    """A checksum of the frame's pixels."""
    return zlib.crc32(frame.to_ndarray(format="rgb24").tobytes())


def plain(path: str) -> dict:
    """The frames of the best stream that is not a cover image, up to the end or the first error."""
    found = []
    try:
        with av.open(path, metadata_errors="replace") as container:
            videos = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
            best = container.streams.best("video")
            stream = best if best in videos else videos[0]
            stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
            found.extend(checksum(frame) for frame in container.decode(stream))
    except Exception as error:
        return {"frames": found, "error": repr(error)}
    return {"frames": found, "error": None}


def ours(path: str) -> dict:
    """The frames of ``decode`` and its error; then a second pass that converts each frame.

    The passes are separate because libav leaves old memory content in a damaged frame, which depends on the frames that are held.
    """
    frames, numbers, times, error, last_frame = [], [], [], None, None
    try:
        for frame in decode(path):
            frames.append(checksum(frame.av_frame))
            numbers.append(frame.number)
            times.append(frame.time)
    except ItemError as caught:
        error, last_frame = str(caught), caught.last_frame
    for frame in decode(path, max_frames=len(frames)) if frames else ():
        assert frame.coarse_luma.shape == (36, 64) and frame.rgb().shape == (frame.height, frame.width, 3)
    return {"frames": frames, "numbers": numbers, "times": times, "error": error, "last_frame": last_frame}


def decoded_audio(path: str) -> dict:
    """Number of samples and audible spans of the decoded audio, or its error."""
    try:
        audio = decode_audio(path)
    except ItemError as error:
        return {"error": str(error)}
    return {
        "error": None,
        "samples": None if audio is None else len(audio.samples),
        "spans": None if audio is None else audio.audible_spans().tolist(),
    }


if __name__ == "__main__":
    av.logging.set_level(None)
    for path in sys.argv[1:]:
        signal.alarm(SECONDS)  # ends the process, also inside C code
        print(json.dumps({"path": path, "plain": plain(path), "ours": ours(path), "audio": decoded_audio(path)}), flush=True)
