"""Real clips: proxies keep the times of frames and the lag of the sound; an image of a frame has the faces of the frame."""

import numpy as np
import pytest
from PIL import Image

from abaw_ray.faces.config import DetectorConfig, FacesConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.still_faces import crop_still
from abaw_ray.media.audio import RATE, decode_audio
from abaw_ray.media.config import EncodingConfig
from abaw_ray.media.playback.playability import check_playability
from abaw_ray.media.playback.proxy import first_frame_time, write_proxy
from abaw_ray.media.playback.sound import extract_sound
from abaw_ray.media.video import decode

pytestmark = pytest.mark.clips
CLIPS = ["single_face.mp4", "face_then_none_vfr.mov", "no_face.mp4"]


def on_clock(audio, offset, seconds):
    """Samples from ``offset`` on, zeros where there is no audio."""
    samples, first = np.zeros(seconds * RATE, np.float32), round((audio.start - offset) * RATE)
    begin, end = max(first, 0), min(first + len(audio.samples), len(samples))
    samples[begin:end] = audio.samples[begin - first : end - first]
    return samples


@pytest.mark.parametrize("name", CLIPS)
def test_a_proxy_keeps_times_and_sound(clips, tmp_path, name):
    uri, path, sound_path = str(clips / name), tmp_path / "proxy.mp4", tmp_path / "sound.m4a"
    start = first_frame_time(uri)
    assert extract_sound(uri, sound_path, start).kind == "copied"
    write_proxy(uri, path, sound_path, start, EncodingConfig(max_side=320, preset="ultrafast"))
    before, after = (np.array([frame.time for frame in decode(where)]) for where in (uri, str(path)))
    np.testing.assert_allclose(after, before - start, atol=2e-5)
    assert check_playability(str(path)).plays
    source, written = on_clock(decode_audio(uri), start, 8), on_clock(decode_audio(str(path)), 0.0, 8)
    correlation = np.fft.irfft(np.fft.rfft(written, 2 * len(written)) * np.conj(np.fft.rfft(source, 2 * len(source))))
    assert min(correlation.argmax(), len(correlation) - correlation.argmax()) <= 0.001 * RATE, "sound is in sync to 1 ms"
    assert correlation.max() > 0.98 * np.linalg.norm(source) * np.linalg.norm(written)


@pytest.mark.parametrize("name", CLIPS)
def test_an_image_of_a_frame_has_the_faces_of_the_frame(clips, tmp_path, yunet, name):
    config = FacesConfig(detector=DetectorConfig(kind="yunet", weights=yunet) if yunet else DetectorConfig(kind="haar", width=320))
    crop, frame = CropFaces(config), next(decode(str(clips / name)))
    Image.fromarray(frame.rgb()).save(tmp_path / "frame.png")
    still = crop_still(crop, {"video": "frame", "uri": str(tmp_path / "frame.png"), "subjects": []}).to_pylist()
    row = next(iter(crop({"video": "frame", "uri": str(clips / name), "subjects": []}, last=1))).to_pylist()[0]
    assert still[0]["seen"] == row["seen"] == (name != "no_face.mp4")
    if row["seen"]:
        np.testing.assert_allclose(still[0]["box"], row["box"], atol=0.03 * frame.width)
