"""Files by name -> for each a line of JSON: what a plain loop of PyAV makes of it, and what ``decode`` and ``decode_audio`` do.

Run in a process of its own, which a file may crash, and which ends itself on a file that takes too long.
"""

import json
import signal
import sys
import zlib

import av

from abaw_ray.core.errors import ItemError
from abaw_ray.media.audio import decode_audio
from abaw_ray.media.video import decode

SECONDS = 20
"""For one file."""


def picture(frame: av.VideoFrame) -> int:
    """A number for what is to be seen."""
    return zlib.crc32(frame.to_ndarray(format="rgb24").tobytes())


def plain(path: str) -> dict:
    """The frames of the best stream that is no cover picture, up to the end or the first error."""
    found = []
    try:
        with av.open(path, metadata_errors="replace") as container:
            films = [stream for stream in container.streams.video if not stream.disposition & av.stream.Disposition.attached_pic]
            best = container.streams.best("video")
            stream = best if best in films else films[0]
            stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
            found.extend(picture(frame) for frame in container.decode(stream))
    except Exception as error:
        return {"pictures": found, "error": repr(error)}
    return {"pictures": found, "error": None}


def ours(path: str) -> dict:
    """The same of ``decode``, and what kind of error it was; then once more, to make every kind of picture of it.

    Not at once: in a damaged picture libav leaves what was in the memory before, so it depends on what is held at the time.
    """
    frames, numbers, times, error, last_frame = [], [], [], None, None
    try:
        for frame in decode(path):
            frames.append(picture(frame.picture))
            numbers.append(frame.number)
            times.append(frame.time)
    except ItemError as caught:
        error, last_frame = str(caught), caught.last_frame
    for frame in decode(path, last=len(frames)) if frames else ():
        assert frame.coarse_luma.shape == (36, 64) and frame.rgb().shape == (frame.height, frame.width, 3)
    return {"pictures": frames, "numbers": numbers, "times": times, "error": error, "last_frame": last_frame}


def sound(path: str) -> dict:
    """What of its sound could be decoded."""
    try:
        audio = decode_audio(path)
    except ItemError as error:
        return {"error": str(error)}
    return {"error": None, "samples": None if audio is None else len(audio.samples), "spans": None if audio is None else audio.sounding().tolist()}


if __name__ == "__main__":
    av.logging.set_level(None)
    for path in sys.argv[1:]:
        signal.alarm(SECONDS)  # ends the process, also inside C code
        print(json.dumps({"path": path, "plain": plain(path), "ours": ours(path), "sound": sound(path)}), flush=True)
