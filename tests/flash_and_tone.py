"""Synthetic videos in which a flash and a tone begin at the same time, and the times at which they are found again."""

import av
import numpy as np

from abaw_ray.media.audio import RATE


def write_flash_and_tone(path, codec="aac", *, rate=48000, layout="stereo", seconds=2.0, at=0.72, audio_range=(0.0, 2.0)):
    """Write black frames that are white from ``at`` on, where a tone of 20 ms plays; the audio covers these times."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4" if str(path).endswith("avi") else "libx264", rate=25)
        video.width, video.height, video.pix_fmt, video.codec_context.max_b_frames = 64, 48, "yuv420p", 0
        audio = container.add_stream(codec, rate=rate, layout=layout)
        time = audio_range[0] + np.arange(round((audio_range[1] - audio_range[0]) * rate)) / rate
        wave = np.where((time >= at) & (time < at + 0.02), 0.8 * np.sin(2 * np.pi * 1000 * time), 0)
        resampler, done = av.AudioResampler(audio.codec_context.codec.audio_formats[0].name, layout, rate), 0
        for number in range(round(seconds * 25)):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 255 * (number / 25 >= at - 1e-9), np.uint8))))
            while done < len(wave) and audio_range[0] + done / rate <= (number + 1) / 25:
                block = audio.codec_context.frame_size or 1024
                frame = av.AudioFrame.from_ndarray((wave[done : done + block] * 32767).astype(np.int16)[None], layout="mono")
                frame.sample_rate, frame.pts = rate, round(audio_range[0] * rate) + done
                for resampled in resampler.resample(frame):
                    container.mux(audio.encode(resampled))
                done += block
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return str(path)


def flash_time(path):
    """Time of the first white frame."""
    with av.open(path) as container:
        return next(frame.time for frame in container.decode(video=0) if frame.to_ndarray(format="gray").mean() > 128)


def tone_times(audio):
    """Start times of the tones."""
    loud = np.flatnonzero(np.abs(audio.samples) > 0.3)
    return [audio.start + loud[at] / RATE for at in range(len(loud)) if at == 0 or loud[at] - loud[at - 1] > RATE / 5]
