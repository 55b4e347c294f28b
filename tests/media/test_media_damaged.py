"""Damaged videos: a plain loop of PyAV says what can be had from each, and ours must have the same, and a reason where there is no more."""

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from coded import telling

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
    """A folder of small videos with sound."""
    folder, rng = tmp_path_factory.mktemp("sources"), np.random.default_rng(0)
    for name, (film_coder, voice_coder, options) in SOURCES.items():
        with av.open(str(folder / name), "w", options=options) as container:
            film = container.add_stream(film_coder, rate=25, options={"x265-params": "log-level=none"} if film_coder == "libx265" else {})
            film.width, film.height, film.pix_fmt, film.codec_context.gop_size = 64, 48, PIXELS.get(film_coder, "yuv420p"), 10
            film.codec_context.thread_count = 1
            voice = container.add_stream(voice_coder, rate=16000, layout="mono")
            for number, picture in enumerate(telling(30, 64, 48)):
                container.mux(film.encode(av.VideoFrame.from_ndarray(picture)))
                block = av.AudioFrame.from_ndarray(rng.integers(-9000, 9000, (1, 640)).astype(np.int16), layout="mono")
                block.sample_rate, block.pts = 16000, 640 * number
                container.mux(voice.encode(block))
            container.mux(film.encode(None))
            container.mux(voice.encode(None))
    return folder


def compared(paths):
    """What plain PyAV and ours make of each file; a process that a file crashed or hung is started again behind it."""
    rows, script = [], str(Path(__file__).with_name("compare_decoders.py"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    while len(rows) < len(paths):
        names = [str(path) for path in paths[len(rows) :]]
        done = subprocess.run([sys.executable, script, *names], capture_output=True, text=True, env=environment, check=False)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        rows += found
        if len(found) < len(names):
            rows.append({"path": names[len(found)], "died": done.returncode, "said": done.stderr[-2000:]})
    return rows


def faults(row):
    """What is wrong with what ours made of a file."""
    if "died" in row:
        return [f"the process ended with {row['died']}: {row['said']}"]
    plain, ours = row["plain"], row["ours"]
    count, found = len(ours["pictures"]), []
    stumbled = str(plain["error"]).startswith("IndexError")  # PyAV itself, at the end of a file with more streams than at its beginning
    given = ours["pictures"][: len(plain["pictures"])] if stumbled else ours["pictures"]
    if given != plain["pictures"]:
        found.append(f"plain PyAV gives {len(plain['pictures'])} pictures, ours {count}, or others")
    if ours["numbers"] != list(range(1, count + 1)):
        found.append(f"numbers {ours['numbers']}")
    if not (np.diff(ours["times"]) > 0).all():
        found.append(f"times {ours['times']}")
    if (ours["error"] is None) != ((stumbled or plain["error"] is None) and count > 0):
        found.append(f"plain PyAV says {plain['error']}, ours {ours['error']}, after {count} pictures")
    if ours["error"] is not None and (ours["last_frame"] != (count or None) or "\n" in ours["error"]):
        found.append(f"last frame {ours['last_frame']} of {count}: {ours['error']}")
    return found


def test_of_a_damaged_video_all_is_given_that_plain_pyav_gives_and_then_a_reason(sources, tmp_path):
    copies = damage(sources, tmp_path / "damaged", count=COPIES, seed=0)
    rows = compared(copies)
    assert [row["path"] for row in rows] == [str(path) for path in copies] and len(rows) > 200
    wrong = {Path(row["path"]).name: found for row in rows if (found := faults(row))}
    assert not wrong
    broken = [row for row in rows if row["ours"]["error"] and row["ours"]["pictures"]]
    whole = [row for row in rows if not row["ours"]["error"]]
    assert len(broken) > 10 and len(whole) > 50 and len(rows) - len(broken) - len(whole) > 50


def test_whole_videos_are_whole(sources):
    rows = compared(sorted(sources.iterdir()))
    assert not [found for row in rows if (found := faults(row))]
    assert all(len(row["ours"]["pictures"]) == 30 and row["ours"]["error"] is None for row in rows)
    assert all(row["sound"]["samples"] > 18000 and len(row["sound"]["spans"]) == 1 for row in rows)


def test_the_same_seed_damages_the_same_bytes_and_another_one_others(sources, tmp_path):
    once, again, other = (damage(sources, tmp_path / name, count=28, seed=seed) for name, seed in (("a", 3), ("b", 3), ("c", 4)))
    assert [path.name for path in once] == [path.name for path in again]
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again] != [path.read_bytes() for path in other]


def test_the_name_of_a_damaged_file_says_what_was_done_to_it(sources, tmp_path):
    copies = {path.name.split("_")[1]: path for path in damage(sources, tmp_path / "d", count=14, seed=0)}
    source = sorted(sources.iterdir())[0]
    data = source.read_bytes()
    assert len(copies) == 14 and all(source.stem in path.stem for path in copies.values())
    harmed = {kind: path.read_bytes() for kind, path in copies.items()}
    assert harmed["empty"] == b"" and harmed["text"].startswith(b"<!DOCTYPE html>") and len(harmed["noise"]) == len(data)
    assert harmed["misnamed"] == data and copies["misnamed"].suffix != source.suffix
    assert data.startswith(harmed["cut-short"]) and data.endswith(harmed["beheaded"]) and len(harmed["removed"]) < len(data) < len(harmed["doubled"])
    assert all(len(harmed[kind]) == len(data) for kind in ("flip-few", "flip-many", "flip-head", "flip-tail", "zeroed", "mixed"))
    assert all(content != data for kind, content in harmed.items() if kind != "misnamed")
    assert harmed["flip-head"][4096:] == data[4096:] and harmed["flip-tail"][:-4096] == data[:-4096]


def test_a_folder_without_videos_is_refused_in_one_line(tmp_path):
    tool = [sys.executable, "-m", "tools.data.damage_videos", str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(tool, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3 and "there is no file" in done.stderr and len(done.stderr.splitlines()) == 1 and not (tmp_path / "out").exists()
