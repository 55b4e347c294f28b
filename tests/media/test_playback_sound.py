"""The sound of a proxy or overlay: copied or encoded, it plays at its time, from the first frame on."""

import errno
from pathlib import Path

import av
import numpy as np
import pytest
from flash_and_tone import tone_times, write_flash_and_tone

from abaw_ray.core.errors import ItemError, MissingError, StorageError
from abaw_ray.media.audio import RATE, BlockClock, decode_audio
from abaw_ray.media.playback import sound as sound_module
from abaw_ray.media.playback.sound import extract_sound

COPIED = [("v.mp4", "aac"), ("v.mp4", "libmp3lame"), ("v.mkv", "aac"), ("v.ts", "aac"), ("v.avi", "libmp3lame")]
ENCODED = [("v.mkv", "libopus"), ("v.mov", "pcm_s24le"), ("v.avi", "pcm_alaw"), ("v.ts", "ac3"), ("v.mp4", "alac")]


def extract(uri, folder, start=0.0, end=None):
    """The result, and the audio of the written file."""
    path = folder / "sound.m4a"
    sound = extract_sound(str(uri), path, start, end)
    assert path.exists() == (sound.kind != "none")
    return sound, decode_audio(str(path)) if path.exists() else None


def damaged(path, chosen):
    """Overwrite some of the audio packets of a file."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    for position, size in packets[chosen]:
        data[position : position + size] = b"\xff" * size
    path.write_bytes(data)


@pytest.mark.parametrize("start", [0.0, 0.4])
@pytest.mark.parametrize(("name", "codec", "kind"), [(*one, "copied") for one in COPIED] + [(*one, "encoded") for one in ENCODED])
def test_sound_is_copied_or_encoded_and_stays_at_its_time(tmp_path, name, codec, kind, start):
    path = write_flash_and_tone(tmp_path / name, codec)
    sound, audio = extract(path, tmp_path, start)
    assert (sound.kind, sound.reason) == (kind, "")
    assert tone_times(audio) == pytest.approx([tone_times(decode_audio(path))[0] - start], abs=0.003)
    with av.open(str(tmp_path / "sound.m4a")) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.codec.canonical_name == ("mp3" if codec == "libmp3lame" else "aac")
        assert (stream.rate, stream.layout.nb_channels) == (48000, 2), "rate and channels of the source"
        first = next(packet.pts * packet.time_base for packet in container.demux(stream))
        assert -0.1 < first < 0.05 + 0.04, "nothing before the first frame but the block in which it lies"


def test_sound_that_starts_after_the_first_frame_starts_late(tmp_path):
    for codec in ("aac", "libopus"):
        path = write_flash_and_tone(tmp_path / "v.mkv", codec, audio_range=(0.5, 1.2))
        sound, audio = extract(path, tmp_path, 0.1)
        assert sound.kind == ("copied" if codec == "aac" else "encoded")
        assert tone_times(audio) == pytest.approx([0.62], abs=0.012)
        assert audio.start == pytest.approx(0.4, abs=0.03)


def test_damaged_packets_become_silence_and_the_rest_stays_at_its_time(tmp_path):
    path = Path(write_flash_and_tone(tmp_path / "v.mp4"))
    damaged(path, slice(10, 20))
    sound, audio = extract(path, tmp_path)
    assert sound.kind == "encoded", "a browser would stop at a damaged packet"
    assert tone_times(audio) == pytest.approx([0.72], abs=0.012)
    assert len(audio.samples) / RATE == pytest.approx(2.0, abs=0.05) and len(audio.audible_spans()) == 1


def test_audio_that_cannot_be_decoded_gives_no_sound_and_the_reason(tmp_path):
    path = Path(write_flash_and_tone(tmp_path / "v.mp4"))
    damaged(path, slice(None))
    sound, _ = extract(path, tmp_path)
    assert sound.kind == "none" and "cannot be decoded" in sound.reason


def test_a_video_without_audio_or_with_earlier_audio_only_gives_no_sound(tmp_path, video):
    assert extract(video([0.0, 0.1]), tmp_path)[0].reason == "the video has no audio"
    path = write_flash_and_tone(tmp_path / "w.mkv", audio_range=(0.0, 1.0))
    assert extract(path, tmp_path, 5.0)[0].reason == "no audio while its frames are shown"


def test_a_missing_file_and_a_text_are_errors(tmp_path):
    (tmp_path / "text.mp4").write_text("no video" * 100)
    with pytest.raises(MissingError):
        extract_sound(str(tmp_path / "gone.mp4"), tmp_path / "s.m4a", 0.0)
    with pytest.raises(ItemError):
        extract_sound(str(tmp_path / "text.mp4"), tmp_path / "s.m4a", 0.0)


def test_a_full_disk_is_not_taken_for_broken_audio(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sound_module, "_encode", full)
    with pytest.raises(StorageError, match="the disk is full"):
        extract_sound(write_flash_and_tone(tmp_path / "v.mkv", "libopus"), tmp_path / "s.m4a", 0.0)


def with_moved_blocks(monkeypatch, move):
    """Change the time of decoded blocks by their number, in the order of decoding."""
    original = BlockClock.time

    def time(self, stated, length):
        self.number = getattr(self, "number", -1) + 1
        return original(self, move(self.number, stated), length)

    monkeypatch.setattr(BlockClock, "time", time)


def test_a_gap_between_blocks_is_filled_with_silence(tmp_path, monkeypatch):
    path = write_flash_and_tone(tmp_path / "v.mkv", "aac")
    with_moved_blocks(monkeypatch, lambda number, stated: stated + 3.0 * (number >= 20))
    sound = extract_sound(path, tmp_path / "s.m4a", 0.0)
    monkeypatch.undo()
    audio = decode_audio(str(tmp_path / "s.m4a"))
    assert sound.kind == "encoded", "browsers do not wait at a gap of an MP4"
    assert tone_times(audio) == pytest.approx([3.72], abs=0.012) and len(audio.audible_spans()) == 1


def test_blocks_out_of_order_are_decoded_as_a_whole_and_stay_at_their_times(tmp_path, monkeypatch):
    path = write_flash_and_tone(tmp_path / "v.mkv", "pcm_s16le")
    with_moved_blocks(monkeypatch, lambda number, stated: 9.0 if number == 20 else stated)
    encoded = []
    monkeypatch.setattr(sound_module, "decode_audio", lambda uri: encoded.append(uri) or decode_audio(uri))
    sound = extract_sound(path, tmp_path / "s.m4a", 0.0)
    monkeypatch.undo()
    assert sound.kind == "encoded" and encoded == [path]
    assert tone_times(decode_audio(str(tmp_path / "s.m4a"))) == pytest.approx([0.72], abs=0.012)


def test_audio_of_a_hundred_channels_gives_no_sound(tmp_path):
    path = Path(write_flash_and_tone(tmp_path / "v.mov", "pcm_s16le", layout="mono"))
    data = bytearray(path.read_bytes())
    data[data.index(b"sowt") + 21] = 126
    path.write_bytes(data)
    assert extract(path, tmp_path)[0].kind == "none"


def test_long_sound_is_encoded_with_little_memory(tmp_path):
    rate, seconds = 48000, 240
    with av.open(str(tmp_path / "v.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate, layout="stereo")
        for number in range(seconds):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 2 * rate), np.int16), format="s16", layout="stereo")
            frame.sample_rate, frame.pts = rate, number * rate
            container.mux(stream.encode(frame))
    largest = 0

    def measured(samples, *rest):
        nonlocal largest
        largest = max(largest, samples.nbytes)
        return original(samples, *rest)

    original, sound_module._frame = sound_module._frame, measured
    try:
        assert extract_sound(str(tmp_path / "v.mkv"), tmp_path / "s.m4a", 0.0).kind == "encoded"
    finally:
        sound_module._frame = original
    assert 0 < largest <= 8 * rate, "blocks of a second at most, never the whole audio"


@pytest.mark.parametrize(("name", "codec", "kind"), [("v.mp4", "aac", "copied"), ("v.mkv", "libopus", "encoded"), ("v.avi", "libmp3lame", "copied")])
def test_sound_ends_where_the_frames_end(tmp_path, name, codec, kind):
    path = write_flash_and_tone(tmp_path / name, codec)
    start = 0.4
    sound, audio = extract(path, tmp_path, start, 1.1)
    assert sound.kind == kind
    assert tone_times(audio) == pytest.approx([tone_times(decode_audio(path))[0] - start], abs=0.003)
    assert 0.7 - 0.001 <= audio.start + len(audio.samples) / RATE < 0.7 + 0.08, "blocks are not divided where they are copied"
    sound, audio = extract(path, tmp_path, start, 0.7)
    assert tone_times(audio) == [] and sound.kind == kind


def test_a_part_before_the_sound_has_none(tmp_path):
    path = write_flash_and_tone(tmp_path / "v.mkv", audio_range=(1.0, 2.0))
    assert extract(path, tmp_path, 0.2, 0.8)[0].reason == "no audio while its frames are shown"


def test_sound_with_gaps_ends_where_the_frames_end(tmp_path):
    path = tmp_path / "v.ts"
    write_flash_and_tone(path)
    damaged(path, slice(20, 30))
    sound, audio = extract(path, tmp_path, 0.3, 1.0)
    assert sound.kind == "encoded" and audio.start + len(audio.samples) / RATE == pytest.approx(0.7, abs=0.09)
