"""Real clips: faces are detected at the right times, and chips equal crops of their frames. ``--yunet FILE`` sets the higher threshold."""

import av
import cv2
import numpy as np
import pyarrow as pa
import pytest

from abaw_ray.faces.chips import crop_scale, decode_jpeg
from abaw_ray.faces.config import DetectorConfig, FacesConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.media.audio import RATE, decode_audio, windows
from abaw_ray.media.square_crop import square_around
from abaw_ray.media.video import decode

pytestmark = pytest.mark.clips

WITH_FACE = {"single_face.mp4": 72, "face_then_none_vfr.mov": 72}
"""Frames, from the first on, in which a human sees a face."""


@pytest.fixture(scope="session")
def config(yunet):
    return FacesConfig(detector=DetectorConfig(kind="yunet", weights=yunet) if yunet else DetectorConfig(kind="haar", width=320))


@pytest.fixture(scope="session")
def min_recall(yunet):
    """Share of the frames with a face in which it must be detected: Haar is for demonstrations."""
    return 0.95 if yunet else 0.8


@pytest.fixture(scope="session")
def rows(clips, config):
    """The FACE rows of a clip's tracks."""
    crop, done = CropFaces(config), {}

    def read(name):
        if name not in done:
            done[name] = {}
            for row in pa.concat_tables(crop({"video": name, "uri": str(clips / name), "subjects": []})).to_pylist():
                done[name].setdefault(row["track"], []).append(row)
        return done[name]

    return read


@pytest.mark.parametrize("name", WITH_FACE)
def test_the_face_is_detected_where_a_human_sees_one(rows, min_recall, name):
    found = sum(row["seen"] for row in rows(name)["main"][: WITH_FACE[name]])
    assert found >= min_recall * WITH_FACE[name], f"{found} of {WITH_FACE[name]} frames"


def test_no_face_is_detected_where_there_is_none(rows):
    assert list(rows("no_face.mp4")) == ["main"] and not any(row["seen"] for row in rows("no_face.mp4")["main"])
    after = rows("face_then_none_vfr.mov")["main"][WITH_FACE["face_then_none_vfr.mov"] :]
    assert len(after) > 90 and not any(row["seen"] for row in after)


@pytest.mark.parametrize("name", ["single_face.mp4", "face_then_none_vfr.mov", "no_face.mp4"])
def test_every_frame_has_one_row_with_the_time_of_its_packet(clips, rows, name):
    with av.open(str(clips / name)) as container:
        stream = container.streams.video[0]
        packets = {round(float(packet.pts * packet.time_base), 6) for packet in container.demux(stream) if packet.pts is not None}
    main = rows(name)["main"]
    assert [row["frame"] for row in main] == list(range(1, len(main) + 1)) and len(main) > 0.9 * len(packets)
    stated = np.array(sorted(packets))
    assert max(np.abs(stated - row["time"]).min() for row in main) < 0.001
    assert (np.diff([row["time"] for row in main]) > 0).all()


def direct_crop(rgb, box, scale, size):
    """The square of this scale cut from the frame itself, its corners on whole pixels, black outside."""
    left, top, side = square_around(box, scale)
    padded = np.pad(rgb, ((side, side), (side, side), (0, 0)))
    crop = padded[top + side : top + 2 * side, left + side : left + 2 * side]
    return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR).astype(int)


@pytest.mark.parametrize("name", WITH_FACE)
def test_a_chip_equals_a_direct_crop_of_its_frame_at_each_scale(clips, rows, config, name):
    seen, chips = {row["frame"]: row for row in rows(name)["main"] if row["seen"]}, config.chips
    for frame in decode(str(clips / name)):
        if frame.number not in seen or frame.number % 10:
            continue
        rgb, box, chip = frame.rgb(), np.array(seen[frame.number]["box"], dtype=float), decode_jpeg(seen[frame.number]["chip"])
        errors = [np.abs(crop_scale(chip, scale, chips) - direct_crop(rgb, box, scale, chips.size)).mean() for scale in chips.scales]
        assert errors[-1] < 1.5, f"frame {frame.number}: {errors[-1]:.1f} gray levels at the chip's own scale: more than JPEG's error"
        assert max(errors) < 4, f"frame {frame.number}: {errors} gray levels: more than JPEG's error and half a pixel"


def test_audio_that_starts_after_the_video_is_heard_from_then_on_only(clips):
    audio = decode_audio(str(clips / "face_then_none_vfr.mov"))
    times = np.array([frame.time for frame in decode(str(clips / "face_then_none_vfr.mov"))])
    _, heard = windows(audio, times, width=0.2)
    first = next(time for time, is_heard in zip(times, heard, strict=True) if is_heard)
    with av.open(str(clips / "face_then_none_vfr.mov")) as container:
        stated = float(container.streams.audio[0].start_time * container.streams.audio[0].time_base)
    assert audio.start == pytest.approx(stated, abs=0.03) and stated > 2
    assert not heard[times < stated - 0.11].any() and heard[times > stated].all() and first == pytest.approx(stated - 0.1, abs=0.05)
    assert len(audio.samples) / RATE == pytest.approx(times[-1] - stated, abs=0.1)
