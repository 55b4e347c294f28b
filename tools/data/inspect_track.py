"""Inspect one track of a video: a contact sheet (PNG) and, optionally, an overlay video with the boxes of all people.

python -m tools.data.inspect_track clip.mp4 --detector haar
python -m tools.data.inspect_track clip.mp4 --faces runs/demo --track person-2 --overlay boxes.mp4
"""

import re
import sys
import tempfile
from pathlib import Path
from typing import Literal

import tyro

from abaw_ray.core.errors import AbawError, ConfigError, DataError, ItemError
from abaw_ray.core.progress import echo
from abaw_ray.faces.chips import decode_jpeg
from abaw_ray.faces.config import YUNET_HUB, ChipConfig, DetectorConfig, FacesConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.output import write_faces
from abaw_ray.media.audio import Audio, decode_audio
from abaw_ray.media.video import decode
from abaw_ray.report.tracks.contact_sheet import SheetConfig, chip_frames, draw_sheet, image_frames, image_size
from abaw_ray.report.tracks.face_files import open_face_file
from abaw_ray.report.tracks.overlay import VIDEO_SUFFIXES, crop_chips, frame_images, write_overlay
from abaw_ray.report.tracks.track import Track, read_chips, read_tracks

IMAGE_SUFFIXES = (".png", ".jpg", ".webp")
"""File formats of the sheet."""


def main(
    video: tyro.conf.Positional[str],
    track: str = "",
    faces: str = "",
    detector: Literal["yunet", "haar"] = "yunet",
    weights: str = YUNET_HUB,
    out: Path | None = None,
    overlay: Path | None = None,
    columns: int = 8,
    rows: int = 6,
) -> int:
    """Draw the contact sheet of one track of a video.

    Args:
        video: A path or URI.
        track: Name of the track; empty: the main subject, or the first subject if the data set names them.
        faces: Existing rows: an output (.parquet) of the stage 'faces', or a folder of results that contains it; empty: faces are detected.
        detector: The face detector, if ``faces`` is empty.
        weights: YuNet's weights: a path, a URI, or a name on the model hub.
        out: The image; by default named after the video and the track, in the working folder.
        overlay: File of the overlay video (.mp4, .mov, .mkv); by default none is written.
        columns: Chips per row of the sheet.
        rows: Rows of chips.
    """
    try:
        sheet = SheetConfig(columns=columns, rows=rows)
        check_suffix(out, IMAGE_SUFFIXES)
        check_suffix(overlay, VIDEO_SUFFIXES)
        if faces:
            with open_face_file(faces, video) as rows_file:
                show(rows_file, video, track, sheet, out, overlay)
        else:
            crop = CropFaces(FacesConfig(detector=DetectorConfig(kind=detector, weights=weights)))
            with tempfile.TemporaryDirectory(prefix="abaw-track-") as folder:
                rows_file, row = Path(folder) / "faces.parquet", {"video": Path(video).name, "uri": video, "subjects": []}
                error = write_faces(crop(row), rows_file).error
                show(rows_file, video, track, sheet, out, overlay, error)
    except AbawError as error:
        name = f"{video}: " if isinstance(error, ItemError) else ""
        print(f"error: {name}{error}", file=sys.stderr)
        return error.exit_code
    return 0


def show(rows_file: Path, video: str, name: str, sheet: SheetConfig, out: Path | None, overlay: Path | None, error: ItemError | None = None) -> None:
    """Write the sheet and the overlay from the rows of one video."""
    tracks = read_tracks(rows_file)
    name = name or next(iter(tracks))
    if name not in tracks:
        raise DataError(f"{video}: has no track '{name}'; there are {', '.join(list(tracks)[:12])}")
    track = tracks[name]
    frames = chip_frames(track, sheet).tolist()
    chips = {frame: decode_jpeg(chip) for frame, chip in read_chips(rows_file, name, frames).items()}
    chips |= crop_chips(video, track, [frame for frame in frames if frame not in chips], ChipConfig())
    first = next(decode(video, max_frames=1))
    aspect = first.width / first.height
    images = frame_images(video, track, image_frames(track, sheet, aspect).tolist(), image_size(sheet, aspect))
    note = f"The video is damaged and shown up to the damage: {error}" if error else ""
    out = out or Path(re.sub(r"[^\w.-]+", "_", f"{Path(track.video).stem}-{name}") + ".png")
    draw_sheet(tracks, name, chips, images, sheet, note).image.save(create_parent(out))
    echo(f"{out}: {summary(track)}" + (f"; {note}" if note else ""))
    if overlay:
        write_overlay(create_parent(overlay), video, tracks, name, read_audio(video))
        echo(f"{overlay}: {', '.join(list(tracks)[:12])}")


def summary(track: Track) -> str:
    """Return the track's name, number of frames and states in one line."""
    counts = ", ".join(f"{state} {count:,}" for state, count in track.counts().items())
    return f"track {track.name}, {len(track.frame):,} frames: {counts}"


def read_audio(video: str) -> Audio | None:
    """Return the audio for the overlay; where it is damaged, report that and return None."""
    try:
        return decode_audio(video)
    except ItemError as error:
        echo(f"no audio: {error}")
        return None


def create_parent(path: Path) -> Path:
    """Create the folder of a path; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def check_suffix(path: Path | None, supported: tuple[str, ...]) -> None:
    """Check that the file format can be written, before any work starts."""
    if path is not None and path.suffix.lower() not in supported:
        raise ConfigError(f"{path}: cannot be written; name a file that ends in {', '.join(supported)}")


if __name__ == "__main__":
    sys.exit(tyro.cli(main, prog="python -m tools.data.inspect_track"))
