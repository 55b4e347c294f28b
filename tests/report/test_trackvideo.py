import av
import numpy as np
import pytest

from abaw_ray.core.errors import DataError, ItemError
from abaw_ray.faces.chips import ChipConfig
from abaw_ray.media.audio import RATE, decode_audio
from abaw_ray.media.video import SeekError, decode
from abaw_ray.report.tracks import video as trackvideo
from abaw_ray.report.tracks.rows import Track, read_tracks
from abaw_ray.report.tracks.video import chips_of, frames_at, pictures_of, write_overlay


def grey(rgb):
    return round(float(rgb[-20:].mean()) / 4)


def begins(audio):
    """Seconds at which something is heard: the encoder puts a block of silence before it."""
    return audio.start + np.argmax(np.abs(audio.samples) > 0.3) / RATE


def moved(track, seconds):
    return Track(**{**track.__dict__, "time": track.time + seconds})


@pytest.fixture(params=["entered near each", "one pass"])
def way(request, monkeypatch):
    """Whether the container lets one enter it in the middle."""

    def from_the_beginning(uri, *, start=None, **more):
        if start is not None:
            raise SeekError("not this one")
        return decode(uri, **more)

    if request.param == "one pass":
        monkeypatch.setattr(trackvideo, "decode", from_the_beginning)
    return request.param


def test_wanted_frames_are_found_by_number_and_time_whichever_way_the_video_is_entered(video, times, way):
    wanted = {number: times[number - 1] for number in (40, 1, 17, 18)}
    found = {number: grey(frame.rgb()) for number, frame in frames_at(video, wanted)}
    assert found == {1: 1, 17: 17, 18: 18, 40: 40}
    assert list(frames_at(video, {})) == []


def test_rows_of_another_video_are_refused(video, times, way):
    for wanted in ({5: times[4] + 0.01}, {41: times[-1] + 0.05}):
        with pytest.raises(DataError, match="of another video"):
            list(frames_at(video, wanted))
    with pytest.raises(DataError, match="no such file"):
        list(frames_at(video + ".gone", {1: 0.0}))


def test_pictures_and_missing_chips_are_cut_from_their_frames(video, part):
    main = read_tracks(part)["main"]
    pictures = pictures_of(video, main, [2, 30], (80, 60))
    assert [(picture.frame, picture.rgb.shape, grey(picture.rgb), picture.scale) for picture in pictures] == [
        (2, (60, 80, 3), 2, (0.5, 0.5)),
        (30, (60, 80, 3), 30, (0.5, 0.5)),
    ]
    chips = chips_of(video, main, [2, 9, 30], ChipConfig(scales=(1.0,)))
    assert sorted(chips) == [2, 30], "frame 9 has no face"
    assert chips[30].shape == (50, 50, 3) and abs(chips[30][10:40, 10:40].mean(axis=(0, 1)) - (200, 60, 30)).max() < 12


def test_an_overlay_has_the_pictures_at_their_times_and_the_sound_at_its_own(video, part, tmp_path, times):
    write_overlay(tmp_path / "o.mp4", video, read_tracks(part), "main", decode_audio(video))
    frames = [(frame.time, frame.rgb()) for frame in decode(str(tmp_path / "o.mp4"))]
    np.testing.assert_allclose([time for time, _ in frames], times, atol=1e-3)
    assert {rgb.shape for _, rgb in frames} == {(480 + 56, 640, 3)}, "a small video is enlarged, so that one can read"
    seen, lost = frames[4][1].astype(int), frames[8][1].astype(int)
    assert abs(seen[250, 82] - (214, 66, 28)).max() < 60, "the box's left side"
    assert abs(lost[481, 300] - (176, 42, 32)).max() < 60, "the line that marks a gap"
    before, after = decode_audio(video), decode_audio(str(tmp_path / "o.mp4"))
    assert begins(after) == pytest.approx(begins(before), abs=0.01)
    assert len(after.samples) == pytest.approx(len(before.samples), abs=0.1 * RATE)


def test_an_overlay_without_sound_has_no_sound_stream(video, part, tmp_path):
    write_overlay(tmp_path / "o.mkv", video, read_tracks(part), "person-2", None)
    with av.open(str(tmp_path / "o.mkv")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_an_overlay_of_other_rows_is_refused(video, part, tmp_path):
    tracks = {name: moved(track, 0.05) for name, track in read_tracks(part).items()}
    with pytest.raises(DataError, match="of another video"):
        write_overlay(tmp_path / "o.mp4", video, tracks, "main", None)
    (tmp_path / "text.mp4").write_text("no video" * 100)
    with pytest.raises(ItemError):
        write_overlay(tmp_path / "o.mp4", str(tmp_path / "text.mp4"), tracks, "main", None)
