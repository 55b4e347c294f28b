from pathlib import Path

import av
import numpy as np
import pytest

from abaw_ray.core.errors import ItemError
from abaw_ray.media import audio as audio_module
from abaw_ray.media.audio import RATE, decode_audio, windows

CODERS = {
    "mp4": ("aac", "libmp3lame", "alac"),
    "mkv": ("libopus", "flac", "pcm_f32le"),
    "ts": ("aac", "mp2", "ac3"),
    "avi": ("pcm_u8", "pcm_alaw", "adpcm_ms"),
    "mov": ("pcm_s24le",),
}


def filmed(path, coder="aac", *, rate=48000, layout="stereo", seconds=2.0, at=0.72, sound=(0.0, 2.0)):
    """Black pictures that are white from ``at`` on, when a tone of 20 ms is heard; with sound from and to these times."""
    with av.open(str(path), "w") as container:
        film = container.add_stream("mpeg4" if str(path).endswith("avi") else "libx264", rate=25)
        film.width, film.height, film.pix_fmt, film.codec_context.max_b_frames = 64, 48, "yuv420p", 0
        voice = container.add_stream(coder, rate=rate, layout=layout)
        time = sound[0] + np.arange(round((sound[1] - sound[0]) * rate)) / rate
        wave = np.where((time >= at) & (time < at + 0.02), 0.8 * np.sin(2 * np.pi * 1000 * time), 0)
        fit, done = av.AudioResampler(voice.codec_context.codec.audio_formats[0].name, layout, rate), 0
        for number in range(round(seconds * 25)):
            container.mux(film.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 255 * (number / 25 >= at - 1e-9), np.uint8))))
            while done < len(wave) and sound[0] + done / rate <= (number + 1) / 25:
                many = voice.codec_context.frame_size or 1024
                frame = av.AudioFrame.from_ndarray((wave[done : done + many] * 32767).astype(np.int16)[None], layout="mono")
                frame.sample_rate, frame.pts = rate, round(sound[0] * rate) + done
                for fitting in fit.resample(frame):
                    container.mux(voice.encode(fitting))
                done += many
        container.mux(film.encode(None))
        container.mux(voice.encode(None))
    return str(path)


def flash(path):
    """When the picture turns white."""
    with av.open(path) as container:
        return next(frame.time for frame in container.decode(video=0) if frame.to_ndarray(format="gray").mean() > 128)


def tones(audio):
    """When a tone begins."""
    loud = np.flatnonzero(np.abs(audio.samples) > 0.3)
    return [audio.start + loud[at] / RATE for at in range(len(loud)) if at == 0 or loud[at] - loud[at - 1] > RATE / 5]


@pytest.mark.parametrize(("name", "coder"), [(f"v.{container}", coder) for container, coders in CODERS.items() for coder in coders])
def test_sound_of_every_kind_is_heard_when_the_picture_shows_it(tmp_path, name, coder):
    path = filmed(tmp_path / name, coder)
    audio = decode_audio(path)
    assert tones(audio) == pytest.approx([flash(path)], abs=0.012)
    assert len(audio.samples) / RATE == pytest.approx(2.0, abs=0.05) and len(audio.sounding()) == 1


@pytest.mark.parametrize(("layout", "rate"), [("mono", 8000), ("5.1", 48000), ("stereo", 44100), ("mono", 96000)])
def test_any_number_of_channels_at_any_rate_becomes_16_khz_mono(tmp_path, layout, rate):
    audio = decode_audio(filmed(tmp_path / "v.mkv", "pcm_s16le", layout=layout, rate=rate))
    assert tones(audio) == pytest.approx([0.72], abs=0.003) and len(audio.samples) == pytest.approx(2 * RATE, abs=50)
    assert np.abs(audio.samples).max() == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts"])
def test_sound_that_begins_late_and_ends_early_is_not_heard_before_and_after(tmp_path, name):
    path = filmed(tmp_path / name, sound=(0.5, 1.2))
    audio, shift = decode_audio(path), flash(path) - 0.72
    _, heard = windows(audio, shift + np.array([0.0, 0.3, 0.6, 0.7, 1.1, 1.4, 1.9]), width=0.1)
    assert heard.tolist() == [False, False, True, True, True, False, False]
    assert tones(audio) == pytest.approx([shift + 0.72], abs=0.012)


def test_broadcasts_strung_together_keep_sound_and_picture_together(tmp_path):
    parts = [Path(filmed(tmp_path / f"{number}.ts", "mp2", at=at)).read_bytes() for number, at in enumerate((0.4, 1.2, 0.8))]
    (tmp_path / "v.ts").write_bytes(b"".join(parts))
    assert tones(decode_audio(str(tmp_path / "v.ts"))) == pytest.approx([0.4 + 0.04, 2 + 1.2 + 0.04, 4 + 0.8 + 0.04], abs=0.1)


@pytest.mark.parametrize("wrong", [-3.0, 1.9, 5.0, 700.0, 1e7])
def test_a_single_block_with_a_wrong_time_moves_no_other_and_costs_no_memory(tmp_path, monkeypatch, wrong):
    monkeypatch.setattr(audio_module, "_HOLE", 60)
    path = filmed(tmp_path / "v.mkv", "pcm_s16le", seconds=8.0, at=7.0, sound=(4.0, 8.0))
    decoded = audio_module._frames

    def moved(*where):
        for number, frame in enumerate(decoded(*where)):
            if number == 20:
                frame.pts = round(wrong / frame.time_base)
            yield frame

    right = decode_audio(path)
    monkeypatch.setattr(audio_module, "_frames", moved)
    audio = decode_audio(path)
    assert tones(audio) == tones(right) == pytest.approx([7.0], abs=0.003)
    assert len(audio.samples) <= 8 * RATE
    assert (audio.sounding() / RATE + audio.start)[:, 1].max() == pytest.approx(8.0, abs=0.01)


def test_packets_that_cannot_be_decoded_leave_a_hole_and_move_nothing(tmp_path):
    path = Path(filmed(tmp_path / "v.mp4"))
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    for at, size in places[10:20]:
        data[at : at + size] = b"\xff" * size
    path.write_bytes(data)
    audio = decode_audio(str(path))
    assert tones(audio) == pytest.approx([0.72], abs=0.012)
    assert audio.sounding() / RATE == pytest.approx(np.array([[0, 0.19], [0.41, 2.0]]), abs=0.03)
    for at, size in places:
        data[at : at + size] = b"\xff" * size
    path.write_bytes(data)
    with pytest.raises(ItemError, match="its sound cannot be decoded"):
        decode_audio(str(path))


def test_a_sign_of_life_is_given_for_each_block(tmp_path, monkeypatch):
    beats = []
    monkeypatch.setattr(audio_module, "heartbeat", beats.append)
    decode_audio(filmed(tmp_path / "v.mkv", "pcm_s16le"))
    assert beats == list(range(1, len(beats) + 1)) and len(beats) > 50


def test_sound_of_a_hundred_channels_is_a_bad_item_and_no_crash(tmp_path):
    path = Path(filmed(tmp_path / "v.mov", "pcm_s16le", layout="mono"))
    data = bytearray(path.read_bytes())
    at = data.index(b"sowt") + 20
    assert data[at : at + 2] == b"\0\1"
    data[at + 1] = 126
    path.write_bytes(data)
    with pytest.raises(ItemError, match="its sound cannot be decoded"):
        decode_audio(str(path))
