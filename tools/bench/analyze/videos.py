"""Test videos: one generated talking face with its voice, at any size; and long videos that repeat the packets of a short one."""

from itertools import cycle
from pathlib import Path

import av

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.scene.scene import Scene
from abaw_ray.data.synthetic.script import ExpressionSegment, SubjectScript, VideoScript
from abaw_ray.media.write import write_video

SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080)}
_SEGMENT_S = 2.0
"""Seconds of one expression."""


def draw_video(path: Path, size: tuple[int, int], seconds: float, fps: float) -> Path:
    """Encode a video of one person, whose face is in every frame, with sound: H.264, libx264, preset medium, crf 23; returns the path."""
    starts = [number * _SEGMENT_S for number in range(max(round(seconds / _SEGMENT_S), 1))]
    segments = tuple(
        ExpressionSegment(start=start, stop=start + _SEGMENT_S, expression=expression, occlusion="", audio="clear")
        for start, expression in zip(starts, cycle(EXPRESSIONS), strict=False)
    )
    subject = SubjectScript(name="bench", identity="bench", split="train", extra_rows=0, segments=segments)
    script = VideoScript(name="bench", path=path.name, duration_s=seconds, fps=fps, variable_fps=False, audio="whole", subjects=(subject,))
    scene = Scene(SyntheticConfig(frame_size=size), script)
    samples, start = scene.audio()
    write_video(path, scene.frames(), scene.times, samples, audio_start=start)
    return path


def repeat_video(source: Path, target: Path, times: int) -> Path:
    """Repeat the packets of a video and of its sound without encoding again; returns the target.

    The duration of the source should be a multiple of the duration of an AAC frame (0.064 s at 16 kHz), otherwise the sound has small gaps.
    """
    streams, last = {}, {}
    with av.open(str(target), "w") as out:
        for number in range(times):
            with av.open(str(source)) as container:
                length = container.duration or 0  # microseconds
                for stream in container.streams:
                    streams.setdefault(stream.index, None)
                    streams[stream.index] = streams[stream.index] or out.add_stream_from_template(stream)
                for packet in container.demux():
                    if packet.dts is None or packet.pts is None or packet.time_base is None:  # the last packet of a stream is empty
                        continue
                    index, offset = packet.stream.index, round(number * length / av.time_base / packet.time_base)
                    packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, streams[index]
                    if packet.dts > last.get(index, packet.dts - 1):  # AAC's first frame only primes the decoder and lies before 0
                        last[index] = packet.dts
                        out.mux(packet)
    return target
