"""The benchmark of analyses: its test videos have the stated content, its figures follow their definitions, its rates are what a plan reads."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from timeouts import TIMEOUT_S

from abaw_ray.media.audio import decode_audio
from abaw_ray.media.playback.header import read_header
from abaw_ray.media.video import decode
from abaw_ray.predict.estimate.rates import Rates
from tools.bench.analyze import figures, memory, pool, shares, start, videos

ROOT = Path(__file__).parents[1]
FIND = {"decode_ms": 3.0, "find_ms": 5.0, "sound_ms": 10.0}
SCORE = {"face_ms": 6.0, "speech_ms": 20.0, "fusion_ms": 1.0, "write_ms": 2.0}


def test_the_synthetic_video_has_the_size_rate_and_sound(tmp_path):
    header = read_header(str(videos.draw_video(tmp_path / "clip.mp4", (320, 240), 0.64, 25)))
    assert (header.width, header.height, header.fps, header.has_audio, header.plays) == (320, 240, 25, True, True)
    assert header.duration_s == pytest.approx(0.64, abs=0.07)


def test_a_repeated_video_has_all_frames_and_sound_without_gaps(tmp_path):
    once = videos.draw_video(tmp_path / "clip.mp4", (96, 96), 0.64, 25)
    path = str(videos.repeat_video(once, tmp_path / "long.mp4", 4))
    times = [frame.time for frame in decode(path)]
    assert len(times) == 64
    assert np.diff(times) == pytest.approx(np.full(63, 0.04), abs=0.07)
    audio = decode_audio(path)
    assert len(audio.samples) / 16_000 == pytest.approx(times[-1], abs=0.3)
    assert len(audio.audible_spans()) < 4


def test_shares_are_per_second_of_video_and_add_up():
    found = figures.shares(FIND, SCORE, 30, 10)
    assert found == pytest.approx(
        {"decode_s": 0.1, "faces_s": 0.06, "encoder_s": 0.06, "speech_s": 0.02, "fusion_s": 0.01, "write_s": 0.02, "all_s": 0.27}
    )


def test_lines_pass_through_their_points_and_start_at_zero_or_above():
    assert shares.line_through((1, 5), (3, 9)) == (3, 2)
    assert shares.line_through((1, 1), (3, 9)) == (0, 3)
    assert figures.fitted_line([(1, 5), (2, 7), (3, 9)]) == pytest.approx((3, 2))
    start_value, slope = figures.fitted_line([(1, 1), (2, 5), (3, 9)])
    assert start_value == 0 and 1 < slope < 3


def complete(**changes):
    """Raw figures of a run whose times follow a known rule."""
    find = {"360p": 0.25, "720p": 1.0, "1080p": 2.0}
    video = {f"{size}_megapixels": value for size, value in find.items()} | {f"{size}_find_ms": 1 + 4 * value for size, value in find.items()}
    files = {"csv_bytes": 200, "parquet_bytes": 50, "parquet_base_bytes": 100, "html_bytes": 30, "html_base_bytes": 60_000}
    rows = {"fusion_ms": 1, "write_ms": 2, **files}

    def model(gflop, speech):
        return {"images": 3, "image_gflop": gflop, "face_ms": 3 * (1 + 5 * gflop), "speech_gflop": speech, "speech_ms": 2 + 4 * speech, **rows}

    video |= {"360p_sound_ms": 9, "720p_sound_ms": 0, "1080p_sound_ms": 3, "720p_chip_bytes": 0.1}
    raw = {"video": video, "overlay": {"encode_ms": 20, "bytes": 7000}}
    return raw | {"demo": model(0.1, 1), "paper": model(100, 20), "check": model(10, 20)} | changes


def test_the_rates_are_those_of_the_rule_that_the_times_follow():
    raw = complete()
    found = figures.rates(raw, "measured")
    values = (found.frame_ms, found.megapixel_ms, found.image_ms, found.gflop_ms, found.speech_ms, found.speech_gflop_ms, found.row_ms)
    assert values == pytest.approx((1, 4, 1, 5, 2, 4, 3)) and found.sound_ms == pytest.approx(4)
    assert figures.errors(raw, found) == pytest.approx({"frame": 0, "encoder": 0}, abs=1e-6)


def test_the_error_of_the_encoder_is_that_of_the_model_that_is_not_fitted():
    raw = complete()
    raw["check"]["face_ms"] *= 2
    assert figures.errors(raw, figures.rates(raw, "measured"))["encoder"] == pytest.approx(-0.5)


def test_the_printed_rates_are_python_source_with_three_digits():
    found = figures.rates(complete(), "measured today")
    names: dict = {}
    exec(figures.literal(found), {"Rates": Rates}, names)
    assert names["CPU"].source == "measured today" and names["CPU"].gflop_ms == pytest.approx(5, rel=1e-2)


def test_the_start_is_the_difference_to_the_imports():
    found = start.start_figures({"analyze": [9, 7, 8], "imports": [4, 5, 3]}, {"analyze": [1, 1, 1], "imports": [1, 1, 1]})
    assert (found["over_imports_s"], found["over_imports_min_s"]) == (4, 4)


def test_seconds_of_a_process_are_measured_and_a_failure_is_an_error():
    wall, cpu = start.process_seconds([sys.executable, "-c", "sum(range(10**6))"])
    assert wall > 0 and cpu > 0
    with pytest.raises(RuntimeError, match="exit code 3"):
        start.process_seconds([sys.executable, "-c", "raise SystemExit(3)"])


def test_the_steady_rate_ignores_start_and_end():
    finished = [50 + number for number in range(20)]
    assert pool.steady_rate([0.0, *finished[1:-1], 900.0], workers=2) == pytest.approx(1.0)


def test_the_growth_of_memory_is_that_of_the_sum():
    found = memory.memory_figures({"sum": 400.0, "parent": 300.0}, {"sum": 500.0, "parent": 350.0})
    assert (found["ratio"], found["growth_mb"], found["long_parent"]) == (1.25, 100, 350)


def test_the_time_of_wrapped_calls_is_added_up():
    timed = shares.Timed(lambda count: sum(range(count)))
    assert timed(10**6) == sum(range(10**6))
    first = timed.seconds
    timed(10**6)
    assert timed.seconds > first > 0 and timed.__name__ == "<lambda>"


def test_a_missing_file_of_weights_is_a_one_line_error():
    command = [sys.executable, "-m", "tools.bench.analyze", "--weights", "nowhere.onnx", "--quick", "--only", "start"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, "error: nowhere.onnx: there is no such file; give YuNet's weights")
