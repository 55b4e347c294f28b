import av
import numpy as np
import pytest

from abaw_ray.core.errors import DataError, ItemError
from abaw_ray.faces.config import ChipConfig
from abaw_ray.media.audio import RATE, decode_audio
from abaw_ray.media.video import SeekError, decode
from abaw_ray.report.tracks import overlay as overlay_module
from abaw_ray.report.tracks.overlay import crop_chips, frame_images, frames_at, write_overlay
from abaw_ray.report.tracks.track import Track, read_tracks


def gray(rgb):
    return round(float(rgb[-20:].mean()) / 4)


def audible_start(audio):
    """Seconds at which the audio gets loud: the encoder adds a block of silence before it."""
    return audio.start + np.argmax(np.abs(audio.samples) > 0.3) / RATE


def shifted(track, seconds):
    return Track(**{**track.__dict__, "time": track.time + seconds})


@pytest.fixture(params=["seeking", "one pass"])
def seeking(request, monkeypatch):
    """With and without a container that supports seeking."""

    def from_the_beginning(uri, *, start=None, **more):
        if start is not None:
            raise SeekError("no index")
        return decode(uri, **more)

    if request.param == "one pass":
        monkeypatch.setattr(overlay_module, "decode", from_the_beginning)
    return request.param


def test_frames_are_found_by_number_and_time_with_and_without_seeking(video, times, seeking):
    wanted = {number: times[number - 1] for number in (40, 1, 17, 18)}
    found = {number: gray(frame.rgb()) for number, frame in frames_at(video, wanted)}
    assert found == {1: 1, 17: 17, 18: 18, 40: 40}
    assert list(frames_at(video, {})) == []


def test_rows_of_another_video_are_refused(video, times, seeking):
    for wanted in ({5: times[4] + 0.01}, {41: times[-1] + 0.05}):
        with pytest.raises(DataError, match="of another video"):
            list(frames_at(video, wanted))
    with pytest.raises(DataError, match="no such file"):
        list(frames_at(video + ".gone", {1: 0.0}))


def test_images_and_missing_chips_are_cropped_from_their_frames(video, rows_file):
    main = read_tracks(rows_file)["main"]
    images = frame_images(video, main, [2, 30], (80, 60))
    assert [(image.frame, image.rgb.shape, gray(image.rgb), image.scale) for image in images] == [
        (2, (60, 80, 3), 2, (0.5, 0.5)),
        (30, (60, 80, 3), 30, (0.5, 0.5)),
    ]
    chips = crop_chips(video, main, [2, 9, 30], ChipConfig(scales=(1.0,)))
    assert sorted(chips) == [2, 30], "frame 9 has no face"
    assert chips[30].shape == (50, 50, 3) and abs(chips[30][10:40, 10:40].mean(axis=(0, 1)) - (200, 60, 30)).max() < 12


def test_an_overlay_has_the_frames_and_the_audio_at_their_times(video, rows_file, tmp_path, times):
    write_overlay(tmp_path / "o.mp4", video, read_tracks(rows_file), "main", decode_audio(video))
    frames = [(frame.time, frame.rgb()) for frame in decode(str(tmp_path / "o.mp4"))]
    np.testing.assert_allclose([time for time, _ in frames], times, atol=1e-3)
    assert {rgb.shape for _, rgb in frames} == {(480 + 56, 640, 3)}, "a small video is enlarged, so that the text is legible"
    seen, lost = frames[4][1].astype(int), frames[8][1].astype(int)
    assert abs(seen[250, 82] - (214, 66, 28)).max() < 60, "the box's left side"
    assert abs(lost[481, 300] - (176, 42, 32)).max() < 60, "the line that marks a gap"
    before, after = decode_audio(video), decode_audio(str(tmp_path / "o.mp4"))
    assert audible_start(after) == pytest.approx(audible_start(before), abs=0.01)
    assert len(after.samples) == pytest.approx(len(before.samples), abs=0.1 * RATE)


def test_an_overlay_without_audio_has_no_audio_stream(video, rows_file, tmp_path):
    write_overlay(tmp_path / "o.mkv", video, read_tracks(rows_file), "person-2", None)
    with av.open(str(tmp_path / "o.mkv")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_an_overlay_with_tracks_of_another_video_is_refused(video, rows_file, tmp_path):
    tracks = {name: shifted(track, 0.05) for name, track in read_tracks(rows_file).items()}
    with pytest.raises(DataError, match="of another video"):
        write_overlay(tmp_path / "o.mp4", video, tracks, "main", None)
    (tmp_path / "text.mp4").write_text("no video" * 100)
    with pytest.raises(ItemError):
        write_overlay(tmp_path / "o.mp4", str(tmp_path / "text.mp4"), tracks, "main", None)
