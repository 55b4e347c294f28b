import av
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from abaw_ray.core.errors import DataError, ItemError
from abaw_ray.media.audio import RATE, Audio, decode_audio, windows


def click(seconds, at):
    """Silence with a tone of 20 ms that begins at ``at`` seconds."""
    samples = np.zeros(round(seconds * RATE), np.float32)
    first = round(at * RATE)
    samples[first : first + 320] = 0.8 * np.sin(np.arange(320) * 0.9)
    return samples


def heard_at(audio):
    """Center of the tone, in seconds on the frames' clock."""
    loud = np.flatnonzero(np.abs(audio.samples) > 0.2)
    return audio.start + (loud[0] + loud[-1]) / 2 / RATE


@pytest.mark.parametrize("name", ["video.mp4", "video.mkv", "video.avi"])
def test_a_click_in_the_audio_is_at_the_time_of_its_frame(video, name):
    audio = decode_audio(video(np.arange(75) / 25, click(3, 1.5), name=name))
    assert heard_at(audio) == pytest.approx(1.51, abs=0.01)
    assert len(audio.samples) / RATE == pytest.approx(3, abs=0.1)
    assert audio.samples.dtype == np.float32


def test_audio_that_starts_late_is_late_on_the_frames_clock(video):
    audio = decode_audio(video(np.arange(75) / 25, click(1.5, 0.5), audio_start=1.25))
    assert heard_at(audio) == pytest.approx(1.76, abs=0.01)
    windowed, heard = windows(audio, np.array([0.2, 1.76, 2.9]), width=0.2)
    assert heard.tolist() == [False, True, False]
    assert np.abs(windowed[1]).max() > 0.2 and not windowed[[0, 2]].any()


def test_audio_that_starts_before_the_frames_is_early_on_their_clock(video):
    audio = decode_audio(video(2 + np.arange(50) / 25, click(4, 2.5)))
    assert audio.start < 0.1
    assert heard_at(audio) == pytest.approx(2.51, abs=0.01)


def test_a_video_without_an_audio_stream_has_no_audio_instead_of_silence(video):
    assert decode_audio(video(np.arange(10) / 25)) is None


def test_silence_counts_as_audio(video):
    audio = decode_audio(video(np.arange(25) / 25, np.zeros(RATE, np.float32)))
    assert windows(audio, np.array([0.5]), width=0.2)[1].all()


def write_audio(path, rate, blocks):
    """Write stereo audio in blocks ``(start sample, samples)``, which may leave gaps; returns the path."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate, layout="stereo")
        for start, samples in blocks:
            both = np.repeat(np.round(samples * 32767).astype(np.int16), 2)[None]
            frame = av.AudioFrame.from_ndarray(both, format="s16", layout="stereo")
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)


def test_other_rates_and_stereo_become_16_khz_mono_without_a_shift(tmp_path):
    samples = np.zeros(44100, np.float32)
    samples[22050:22932] = 0.8 * np.sin(np.arange(882) * 0.3)
    audio = decode_audio(write_audio(tmp_path / "s.mkv", 44100, [(at, samples[at : at + 1000]) for at in range(0, 44100, 1000)]))
    assert audio.start == 0 and len(audio.samples) == pytest.approx(RATE, abs=4)
    assert heard_at(audio) == pytest.approx(0.51, abs=0.001)


def test_a_gap_in_the_audio_is_not_heard_and_shifts_no_later_audio(tmp_path):
    samples = np.ones(48000, np.float32) * 0.5
    blocks = [(at, samples[at : at + 1000]) for at in range(0, 48000, 1000) if not 12000 <= at < 24000]
    audio = decode_audio(write_audio(tmp_path / "s.mkv", 48000, blocks))
    _, heard = windows(audio, np.array([0.1, 0.24, 0.3, 0.4, 0.49, 0.6]), width=0.04)
    assert heard.tolist() == [True, True, False, False, True, True]
    assert len(audio.samples) == pytest.approx(RATE, abs=4)
    assert not audio.samples[int(0.27 * RATE) : int(0.48 * RATE)].any()


def test_a_missing_file_and_a_file_that_is_not_media_raise_different_errors(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        decode_audio(str(tmp_path / "nowhere.mp4"))
    (tmp_path / "letter.mp4").write_text("some text")
    with pytest.raises(ItemError, match="not a video or audio file"):
        decode_audio(str(tmp_path / "letter.mp4"))


def slow_windows(audio, times, width):
    """The definition: sample k of a frame's window is the audio at (its center's sample) - n // 2 + k."""
    count = round(width * RATE)
    out, heard = np.zeros((len(times), count), np.float32), np.zeros(len(times), bool)
    for row, time in enumerate(times):
        for k in range(count):
            sample = round((time - audio.start) * RATE) - count // 2 + k
            if 0 <= sample < len(audio.samples):
                out[row, k] = audio.samples[sample]
                heard[row] |= any(a <= sample < b for a, b in audio.audible_spans())
    return out, heard


@pytest.mark.parametrize("start", [-0.02, 0.0, 0.013])
@pytest.mark.parametrize("spans", [None, [[0, 100], [250, 400]], []])
def test_windows_agree_with_their_definition_in_any_order_of_times(start, spans):
    rng = np.random.default_rng(1)
    audio = Audio(rng.standard_normal(400).astype(np.float32), start, None if spans is None else np.array(spans, np.int64).reshape(-1, 2))
    times = rng.uniform(-0.05, 0.08, size=60)
    for width in (0.002, 0.0101):
        fast, slow = windows(audio, times, width=width), slow_windows(audio, times, width)
        np.testing.assert_array_equal(fast[0], slow[0])
        np.testing.assert_array_equal(fast[1], slow[1])


def test_windows_far_outside_use_no_memory_and_are_not_heard():
    windowed, heard = windows(Audio(np.ones(10, np.float32), 0.0), np.array([-1e6, 0.0, 1e6]), width=0.001)
    assert heard.tolist() == [False, True, False] and windowed.shape == (3, 16)


def test_no_times_give_no_windows_and_zero_width_is_refused():
    audio = Audio(np.ones(10, np.float32), 0.0)
    assert windows(audio, np.array([]), width=0.001)[0].shape == (0, 16)
    with pytest.raises(ValueError, match="at least one sample"):
        windows(audio, np.array([0.0]), width=0.0)


def test_audio_and_times_of_a_wrong_shape_are_refused():
    audio = Audio(np.ones(10, np.float32), 0.0)
    for wrong in (lambda: windows(audio, np.zeros((2, 2)), width=0.1), lambda: Audio(np.zeros((2, 10), np.float32), 0.0)):
        with pytest.raises(TypeCheckError, match=r"typechecking parameter '(times|samples)'"):
            wrong()
