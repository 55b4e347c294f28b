"""Damaged videos: ``decode`` gives the same frames as a plain PyAV loop, and a reason where they end early."""

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from coded import numbered_images

from tools.data.damage_videos import damage

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SOURCES = {
    "four.mp4": ("libx264", "aac", {}),
    "five.mp4": ("libx265", "aac", {}),
    "fragments.mp4": ("libx264", "aac", {"movflags": "frag_keyframe+empty_moov"}),
    "four.mkv": ("libx264", "libopus", {}),
    "nine.mkv": ("libvpx-vp9", "libopus", {}),
    "four.avi": ("mpeg4", "libmp3lame", {}),
    "jpeg.avi": ("mjpeg", "pcm_u8", {}),
    "four.mov": ("libx264", "pcm_s16le", {}),
    "field.mov": ("prores_ks", "pcm_s16le", {}),
    "four.ts": ("libx264", "aac", {}),
    "two.ts": ("mpeg2video", "mp2", {}),
}
PIXELS = {"mjpeg": "yuvj420p", "prores_ks": "yuv422p10le"}
COPIES = 14 * len(SOURCES) * 2


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A folder of small videos with audio."""
    folder, rng = tmp_path_factory.mktemp("sources"), np.random.default_rng(0)
    for name, (video_codec, audio_codec, options) in SOURCES.items():
        with av.open(str(folder / name), "w", options=options) as container:
            video = container.add_stream(video_codec, rate=25, options={"x265-params": "log-level=none"} if video_codec == "libx265" else {})
            video.width, video.height, video.pix_fmt, video.codec_context.gop_size = 64, 48, PIXELS.get(video_codec, "yuv420p"), 10
            video.codec_context.thread_count = 1
            audio = container.add_stream(audio_codec, rate=16000, layout="mono")
            for number, image in enumerate(numbered_images(30, 64, 48)):
                container.mux(video.encode(av.VideoFrame.from_ndarray(image)))
                block = av.AudioFrame.from_ndarray(rng.integers(-9000, 9000, (1, 640)).astype(np.int16), layout="mono")
                block.sample_rate, block.pts = 16000, 640 * number
                container.mux(audio.encode(block))
            container.mux(video.encode(None))
            container.mux(audio.encode(None))
    return folder


def compared(paths):
    """Results of plain PyAV and ours for each file; after a crash or a hang a new process continues with the next file."""
    rows, script = [], str(Path(__file__).with_name("compare_decoders.py"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    while len(rows) < len(paths):
        names = [str(path) for path in paths[len(rows) :]]
        done = subprocess.run([sys.executable, script, *names], capture_output=True, text=True, env=environment, check=False)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        rows += found
        if len(found) < len(names):
            rows.append({"path": names[len(found)], "died": done.returncode, "stderr": done.stderr[-2000:]})
    return rows


def differences(row):
    """Differences between our result for a file and the expected one."""
    if "died" in row:
        return [f"the process ended with {row['died']}: {row['stderr']}"]
    plain, ours = row["plain"], row["ours"]
    count, found = len(ours["frames"]), []
    pyav_failed = str(plain["error"]).startswith("IndexError")  # PyAV itself, at the end of a file with more streams than at its beginning
    compared_frames = ours["frames"][: len(plain["frames"])] if pyav_failed else ours["frames"]
    if compared_frames != plain["frames"]:
        found.append(f"plain PyAV gives {len(plain['frames'])} frames, ours {count}, or others")
    if ours["numbers"] != list(range(1, count + 1)):
        found.append(f"numbers {ours['numbers']}")
    if not (np.diff(ours["times"]) > 0).all():
        found.append(f"times {ours['times']}")
    if (ours["error"] is None) != ((pyav_failed or plain["error"] is None) and count > 0):
        found.append(f"plain PyAV raised {plain['error']}, ours {ours['error']}, after {count} frames")
    if ours["error"] is not None and (ours["last_frame"] != (count or None) or "\n" in ours["error"]):
        found.append(f"last frame {ours['last_frame']} of {count}: {ours['error']}")
    return found


def test_a_damaged_video_gives_all_frames_that_plain_pyav_gives_and_then_a_reason(sources, tmp_path):
    copies = damage(sources, tmp_path / "damaged", count=COPIES, seed=0)
    rows = compared(copies)
    assert [row["path"] for row in rows] == [str(path) for path in copies] and len(rows) > 200
    wrong = {Path(row["path"]).name: found for row in rows if (found := differences(row))}
    assert not wrong
    broken = [row for row in rows if row["ours"]["error"] and row["ours"]["frames"]]
    whole = [row for row in rows if not row["ours"]["error"]]
    assert len(broken) > 10 and len(whole) > 50 and len(rows) - len(broken) - len(whole) > 50


def test_undamaged_videos_are_decoded_completely(sources):
    rows = compared(sorted(sources.iterdir()))
    assert not [found for row in rows if (found := differences(row))]
    assert all(len(row["ours"]["frames"]) == 30 and row["ours"]["error"] is None for row in rows)
    assert all(row["audio"]["samples"] > 18000 and len(row["audio"]["spans"]) == 1 for row in rows)


def test_the_same_seed_damages_the_same_bytes_and_another_seed_others(sources, tmp_path):
    once, again, other = (damage(sources, tmp_path / name, count=28, seed=seed) for name, seed in (("a", 3), ("b", 3), ("c", 4)))
    assert [path.name for path in once] == [path.name for path in again]
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again] != [path.read_bytes() for path in other]


def test_the_name_of_a_damaged_file_states_its_damage(sources, tmp_path):
    copies = {path.name.split("_")[1]: path for path in damage(sources, tmp_path / "d", count=14, seed=0)}
    source = sorted(sources.iterdir())[0]
    data = source.read_bytes()
    assert len(copies) == 14 and all(source.stem in path.stem for path in copies.values())
    contents = {kind: path.read_bytes() for kind, path in copies.items()}
    assert contents["empty"] == b"" and contents["text"].startswith(b"<!DOCTYPE html>") and len(contents["noise"]) == len(data)
    assert contents["misnamed"] == data and copies["misnamed"].suffix != source.suffix
    assert (
        data.startswith(contents["cut-short"])
        and data.endswith(contents["beheaded"])
        and len(contents["removed"]) < len(data) < len(contents["doubled"])
    )
    assert all(len(contents[kind]) == len(data) for kind in ("flip-few", "flip-many", "flip-head", "flip-tail", "zeroed", "mixed"))
    assert all(content != data for kind, content in contents.items() if kind != "misnamed")
    assert contents["flip-head"][4096:] == data[4096:] and contents["flip-tail"][:-4096] == data[:-4096]


def test_a_folder_without_videos_is_refused_in_one_line(tmp_path):
    tool = [sys.executable, "-m", "tools.data.damage_videos", str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(tool, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3 and "there is no file" in done.stderr and len(done.stderr.splitlines()) == 1 and not (tmp_path / "out").exists()
