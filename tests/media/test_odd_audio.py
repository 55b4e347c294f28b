from pathlib import Path

import av
import numpy as np
import pytest
from flash_and_tone import flash_time, tone_times, write_flash_and_tone

from abaw_ray.core.errors import ItemError
from abaw_ray.media import audio as audio_module
from abaw_ray.media.audio import RATE, decode_audio, windows

CODECS = {
    "mp4": ("aac", "libmp3lame", "alac"),
    "mkv": ("libopus", "flac", "pcm_f32le"),
    "ts": ("aac", "mp2", "ac3"),
    "avi": ("pcm_u8", "pcm_alaw", "adpcm_ms"),
    "mov": ("pcm_s24le",),
}


@pytest.mark.parametrize(("name", "codec"), [(f"v.{container}", codec) for container, codecs in CODECS.items() for codec in codecs])
def test_audio_of_every_codec_is_in_sync_with_the_frames(tmp_path, name, codec):
    path = write_flash_and_tone(tmp_path / name, codec)
    audio = decode_audio(path)
    assert tone_times(audio) == pytest.approx([flash_time(path)], abs=0.012)
    assert len(audio.samples) / RATE == pytest.approx(2.0, abs=0.05) and len(audio.audible_spans()) == 1


@pytest.mark.parametrize(("layout", "rate"), [("mono", 8000), ("5.1", 48000), ("stereo", 44100), ("mono", 96000)])
def test_any_channel_layout_and_sample_rate_become_16_khz_mono(tmp_path, layout, rate):
    audio = decode_audio(write_flash_and_tone(tmp_path / "v.mkv", "pcm_s16le", layout=layout, rate=rate))
    assert tone_times(audio) == pytest.approx([0.72], abs=0.003) and len(audio.samples) == pytest.approx(2 * RATE, abs=50)
    assert np.abs(audio.samples).max() == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts"])
def test_audio_that_starts_late_and_ends_early_is_not_heard_before_and_after(tmp_path, name):
    path = write_flash_and_tone(tmp_path / name, audio_range=(0.5, 1.2))
    audio, shift = decode_audio(path), flash_time(path) - 0.72
    _, heard = windows(audio, shift + np.array([0.0, 0.3, 0.6, 0.7, 1.1, 1.4, 1.9]), width=0.1)
    assert heard.tolist() == [False, False, True, True, True, False, False]
    assert tone_times(audio) == pytest.approx([shift + 0.72], abs=0.012)


def test_concatenated_broadcasts_keep_audio_and_frames_in_sync(tmp_path):
    parts = [Path(write_flash_and_tone(tmp_path / f"{number}.ts", "mp2", at=at)).read_bytes() for number, at in enumerate((0.4, 1.2, 0.8))]
    (tmp_path / "v.ts").write_bytes(b"".join(parts))
    assert tone_times(decode_audio(str(tmp_path / "v.ts"))) == pytest.approx([0.4 + 0.04, 2 + 1.2 + 0.04, 4 + 0.8 + 0.04], abs=0.1)


@pytest.mark.parametrize("wrong", [-3.0, 1.9, 5.0, 700.0, 1e7])
def test_a_single_block_with_a_wrong_time_shifts_no_other_and_uses_no_memory(tmp_path, monkeypatch, wrong):
    monkeypatch.setattr(audio_module, "_MAX_GAP", 60)
    path = write_flash_and_tone(tmp_path / "v.mkv", "pcm_s16le", seconds=8.0, at=7.0, audio_range=(4.0, 8.0))
    decoded = audio_module.audio_frames

    def moved(*where):
        for number, frame in enumerate(decoded(*where)):
            if number == 20:
                frame.pts = round(wrong / frame.time_base)
            yield frame

    right = decode_audio(path)
    monkeypatch.setattr(audio_module, "audio_frames", moved)
    audio = decode_audio(path)
    assert tone_times(audio) == tone_times(right) == pytest.approx([7.0], abs=0.003)
    assert len(audio.samples) <= 8 * RATE
    assert (audio.audible_spans() / RATE + audio.start)[:, 1].max() == pytest.approx(8.0, abs=0.01)


def test_packets_that_cannot_be_decoded_leave_a_gap_and_shift_no_later_audio(tmp_path):
    path = Path(write_flash_and_tone(tmp_path / "v.mp4"))
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    for position, size in packets[10:20]:
        data[position : position + size] = b"\xff" * size
    path.write_bytes(data)
    audio = decode_audio(str(path))
    assert tone_times(audio) == pytest.approx([0.72], abs=0.012)
    assert audio.audible_spans() / RATE == pytest.approx(np.array([[0, 0.19], [0.41, 2.0]]), abs=0.03)
    for position, size in packets:
        data[position : position + size] = b"\xff" * size
    path.write_bytes(data)
    with pytest.raises(ItemError, match="its audio cannot be decoded"):
        decode_audio(str(path))


def test_a_heartbeat_is_sent_for_each_block(tmp_path, monkeypatch):
    heartbeats = []
    monkeypatch.setattr(audio_module, "heartbeat", heartbeats.append)
    decode_audio(write_flash_and_tone(tmp_path / "v.mkv", "pcm_s16le"))
    assert heartbeats == list(range(1, len(heartbeats) + 1)) and len(heartbeats) > 50


def test_audio_of_a_hundred_channels_raises_an_item_error(tmp_path):
    path = Path(write_flash_and_tone(tmp_path / "v.mov", "pcm_s16le", layout="mono"))
    data = bytearray(path.read_bytes())
    at = data.index(b"sowt") + 20
    assert data[at : at + 2] == b"\0\1"
    data[at + 1] = 126
    path.write_bytes(data)
    with pytest.raises(ItemError, match="its audio cannot be decoded"):
        decode_audio(str(path))
