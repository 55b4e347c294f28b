"""Odd inputs of ``abaw-ray analyze``, each through the command: a result or a reason, never a traceback."""

import json
import os
import shutil
import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from test_analyze_output import analyze

from abaw_ray.media.write import write_video

pytestmark = pytest.mark.slow
TONE = 0.3 * np.sin(np.arange(16_000) * 0.1).astype(np.float32)
MATRICES = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def plain(count=6, width=96, height=64):
    return (np.full((height, width, 3), 40 + index, np.uint8) for index in range(count))


def clip(path, *, times=None, audio=None, size=(96, 64), **options):
    """Write a video without a face; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(6) / 25 if times is None else times
    write_video(path, plain(len(times), *size), times, audio, preset="ultrafast", **options)
    return path


def rotated(path, degrees):
    """Write a video whose header states a rotation."""
    data = bytearray(clip(path).read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16
    a, b, c, d = (value * 0x10000 for value in MATRICES[degrees])
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    path.write_bytes(data)


def damage_sound(path, after):
    """Overwrite the audio packets that begin after this time."""
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size and float(packet.pts * packet.time_base) >= after]
    data = bytearray(path.read_bytes())
    for packet in packets:
        at = data.index(packet)
        data[at : at + len(packet)] = b"\xff" * len(packet)
    path.write_bytes(data)


def sound_alone(path, codec):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray((TONE[:1024] * 32767).astype(np.int16)[None], layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
        for block in av.AudioResampler(stream.codec_context.codec.audio_formats[0].name, "mono", 16000, 576).resample(frame):
            container.mux(stream.encode(block))
        container.mux(stream.encode(None))


def run(model, output, *args, code=0):
    """Run the command; returns video -> its result, and video -> the reason of its failure."""
    done = analyze(*args, "--model", model, "-o", output, "--json")
    assert "Traceback" not in done.stderr and done.returncode == code, done.stderr[-2000:]
    result = json.loads(done.stdout)
    return {video["video"]: video for video in result.get("videos", [])}, {row["video"]: row["reason"] for row in result.get("failures", [])}


def test_videos_of_every_kind(model, tmp_path):
    source, times = tmp_path / "in", np.arange(32) / 8  # four seconds
    clip(source / "8k.mp4", size=(7680, 4320), times=np.arange(2) / 25)
    clip(source / "fps120.mp4", times=np.arange(24) / 120)
    for degrees in MATRICES:
        rotated(source / f"rotated{degrees}.mp4", degrees)
    clip(source / "silent.mp4", audio=np.zeros(64_000, np.float32), times=times)
    clip(source / "sound longer.mp4", audio=np.tile(TONE, 6), times=times)
    clip(source / "sound shorter.mp4", audio=TONE, times=times)
    clip(source / "sound late.mp4", audio=TONE, audio_start=3.0, times=times)
    clip(source / "one frame.mp4", times=np.zeros(1))
    damage_sound(clip(source / "sound breaks.mkv", audio=np.tile(TONE, 4), times=times), 1.0)
    damage_sound(clip(source / "sound broken.mkv", audio=TONE, times=times), -1.0)
    data = clip(source / "cut.mp4").read_bytes()
    (source / "cut.mp4").write_bytes(data[:-300])
    (source / "empty.mp4").touch()
    with av.open(str(source / "header.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        container.start_encoding()
    sounds = {"sound.mp3": "libmp3lame", "sound.m4a": "aac", "sound.wav": "pcm_s16le"}
    for name, codec in sounds.items():
        sound_alone(tmp_path / name, codec)
    good, failed = run(model, tmp_path / "out", source, *(tmp_path / name for name in sounds), "--format", "csv,parquet")
    assert {name: len(video["people"]) for name, video in good.items()} == dict.fromkeys(good, 1)
    assert {name: video["people"][0]["frames"] for name, video in good.items()} == {
        "8k.mp4": 2,
        "fps120.mp4": 24,
        "one frame.mp4": 1,
        "rotated90.mp4": 6,
        "rotated180.mp4": 6,
        "rotated270.mp4": 6,
        **{name: 32 for name in good if name.startswith("s")},
    }
    heard = {name: video["people"][0]["share_heard"] for name, video in good.items()}
    assert heard["silent.mp4"] == heard["sound longer.mp4"] == 1 and heard["sound broken.mkv"] == heard["one frame.mp4"] == 0
    assert all(0 < heard[f"sound {kind}"] < 1 for kind in ("shorter.mp4", "late.mp4", "breaks.mkv"))
    assert "scored without sound: its audio cannot be decoded" in good["sound broken.mkv"]["notes"][-1]
    assert failed.keys() == {"cut.mp4", "empty.mp4", "header.mkv", *sounds}
    assert failed["empty.mp4"] == "the file is empty" and {failed[name] for name in sounds} == {"the file has no video stream"}


def test_images_of_every_kind(model, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    for suffix in ("png", "jpg", "webp", "bmp", "tiff", "gif"):
        image.save(source / f"plain.{suffix}")
    for suffix in ("gif", "webp", "png", "tiff"):
        image.save(source / f"several.{suffix}", save_all=True, append_images=[Image.fromarray(255 - pixels)])
    cv2.imwrite(str(source / "deep.png"), pixels.astype(np.uint16) * 257)
    image.convert("L").save(source / "gray.png")
    image.convert("RGBA").save(source / "alpha.png")
    exif = Image.Exif()
    exif[0x112] = 6
    image.save(source / "turned.jpg", exif=exif)
    image.save(source / "jpeg called.png", format="JPEG")
    good_names = {path.name for path in source.iterdir()}
    Image.new("L", (12_000, 9_000)).save(source / "huge.png")
    (source / "text.png").write_text("no image")
    (source / "empty.jpg").touch()
    (source / "cut.jpg").write_bytes((source / "plain.jpg").read_bytes()[:900])
    shutil.copy(clip(tmp_path / "clip.mp4"), source / "video called.png")
    good, failed = run(model, tmp_path / "out", source)
    assert good.keys() == good_names
    assert all(video["people"][0]["frames"] == 1 and video["notes"][0].startswith("no face in 1 frame:") for video in good.values())
    assert "12,000 x 9,000 pixels, more than 100 million" in failed["huge.png"] and "damaged" in failed["cut.jpg"]
    assert failed.keys() == {"huge.png", "text.png", "empty.jpg", "cut.jpg", "video called.png"}


def test_names_of_every_kind(model, tmp_path):
    source = tmp_path / "in"
    original = clip(tmp_path / "original.mp4", audio=TONE[:4000])
    names = ["with space", "Umläut 日本", "hash#1", "per%20cent%", 'quote\'s "q"', "-dash", "--json", "star*[1]", "a&b<c>", "new\nline", "index"]
    source.mkdir()
    for name in (*names, "x" * 246, "ü" * 123):
        shutil.copy(original, source / f"{name}.mp4")
    shutil.copy(original, source / "index.mov")
    (source / "folder.mp4").mkdir()
    (source / "loop").symlink_to(source)
    (source / "broken link.mp4").symlink_to(source / "nowhere.mp4")
    good, failed = run(model, tmp_path / "out", source, "--overlay")
    assert good.keys() == {*(f"{name}.mp4" for name in (*names, "x" * 246, "ü" * 123)), "index.mov"} and not failed
    files = [path for video in good.values() for path in video["files"].values()]
    assert len(set(files)) == 3 * len(good) and all(Path(path).is_file() for path in files)


def test_the_files_of_an_earlier_run_are_no_input(model, tmp_path):
    clip(tmp_path / "in/clip.mp4", audio=TONE[:4000])
    clip(tmp_path / "in/sub/other.mkv")  # browsers do not play it, so a proxy is written
    for output in (tmp_path / "in/out", tmp_path / "in"):
        for _ in range(2):
            good, failed = run(model, output, tmp_path / "in", "--overlay")
            assert good.keys() == {"clip.mp4", "sub/other.mkv"} and not failed
        assert "proxy" in good["sub/other.mkv"]["files"] and "overlay" in good["clip.mp4"]["files"]
        shutil.rmtree(tmp_path / "in/out", ignore_errors=True)
    done = analyze(tmp_path / "in/clip.overlay.mp4", "--model", model, "-o", tmp_path / "in")
    assert done.returncode == 3 and "only files that this command wrote were given" in done.stderr


def test_a_file_given_twice_counts_once_and_two_of_one_name_have_their_paths(model, tmp_path):
    one, two = clip(tmp_path / "a/clip.mp4"), clip(tmp_path / "b/clip.mp4")
    assert run(model, tmp_path / "out1", one, one)[0].keys() == {"clip.mp4"}
    assert run(model, tmp_path / "out2", one, two)[0].keys() == {str(one), str(two)}


@pytest.mark.parametrize(
    ("name", "message", "code"),
    [
        ("-dash.mp4", "-dash.mp4: is not an option; for the file of this name, write ./-dash.mp4", 2),
        ("nothing*.mp4", "nothing*.mp4: no file matches this pattern", 3),
        ("empty", "empty: no video found", 3),
        (os.fsdecode(b"bytes\xff.mp4"), r"b'bytes\xff.mp4': the name is not UTF-8", 3),
    ],
)
def test_what_cannot_be_given_is_one_line(name, message, code, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    clip(tmp_path / "-dash.mp4")
    done = analyze(name, "--model", model, "--quiet")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1) and message in done.stderr


def test_a_folder_with_a_name_that_is_not_utf_8_names_it(model, tmp_path):
    (tmp_path / os.fsdecode(b"bytes\xff.mp4")).touch()
    done = analyze(tmp_path, "--model", model, "-o", tmp_path / "out")
    assert done.returncode == 3 and r"bytes\xff.mp4'; rename it" in done.stderr
