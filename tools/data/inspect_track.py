"""Look at one track of a video: a contact sheet (PNG) of what was found when and, if asked for, the video with everybody's boxes.

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
from abaw_ray.faces.chips import ChipConfig, from_jpeg
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.detection.detect import DetectorConfig
from abaw_ray.faces.detection.weights import YUNET_HUB
from abaw_ray.faces.output import write_part
from abaw_ray.media.audio import Audio, decode_audio
from abaw_ray.media.video import decode
from abaw_ray.report.tracks.parts import found_part
from abaw_ray.report.tracks.rows import Track, read_chips, read_tracks
from abaw_ray.report.tracks.sheet import SheetConfig, chip_frames, draw_sheet, picture_frames, picture_size
from abaw_ray.report.tracks.video import VIDEOS, chips_of, pictures_of, write_overlay

PICTURES = (".png", ".jpg", ".webp")
"""What a sheet can be."""


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
        track: Which person; empty: the main subject, or the first one where people are named.
        faces: Rows that are there already: a part (.parquet) of the stage 'faces', or the results that hold it. Empty: it is searched now.
        detector: What finds faces, where it is searched now.
        weights: Where YuNet's weights are: a path, a URI, or a name on the model hub.
        out: The picture; by default named after the video and the track, in the working folder.
        overlay: A video to write as well (.mp4, .mov, .mkv); by default none.
        columns: Chips in a row.
        rows: Rows of chips.
    """
    try:
        sheet = SheetConfig(columns=columns, rows=rows)
        check_suffix(out, PICTURES)
        check_suffix(overlay, VIDEOS)
        if faces:
            with found_part(faces, video) as part:
                show(part, video, track, sheet, out, overlay)
        else:
            crop = CropFaces(FacesConfig(detector=DetectorConfig(kind=detector, weights=weights)))
            with tempfile.TemporaryDirectory(prefix="abaw-track-") as folder:
                part, row = Path(folder) / "faces.parquet", {"video": Path(video).name, "uri": video, "subjects": []}
                broken = write_part(crop(row), part).broke
                show(part, video, track, sheet, out, overlay, broken)
    except AbawError as error:
        name = f"{video}: " if isinstance(error, ItemError) else ""
        print(f"error: {name}{error}", file=sys.stderr)
        return error.exit_code
    return 0


def show(part: Path, video: str, name: str, sheet: SheetConfig, out: Path | None, overlay: Path | None, broken: ItemError | None = None) -> None:
    """Write what was asked for from the rows of one video."""
    tracks = read_tracks(part)
    name = name or next(iter(tracks))
    if name not in tracks:
        raise DataError(f"{video}: has no track '{name}'; there are {', '.join(list(tracks)[:12])}")
    track = tracks[name]
    frames = chip_frames(track, sheet).tolist()
    chips = {frame: from_jpeg(chip) for frame, chip in read_chips(part, name, frames).items()}
    chips |= chips_of(video, track, [frame for frame in frames if frame not in chips], ChipConfig())
    first = next(decode(video, max_frames=1))
    aspect = first.width / first.height
    pictures = pictures_of(video, track, picture_frames(track, sheet, aspect).tolist(), picture_size(sheet, aspect))
    note = f"The video is broken and shown as far as it is good: {broken}" if broken else ""
    out = out or Path(re.sub(r"[^\w.-]+", "_", f"{Path(track.video).stem}-{name}") + ".png")
    draw_sheet(tracks, name, chips, pictures, sheet, note).image.save(made_folder(out))
    echo(f"{out}: {summary(track)}" + (f"; {note}" if note else ""))
    if overlay:
        write_overlay(made_folder(overlay), video, tracks, name, sound_of(video))
        echo(f"{overlay}: {', '.join(list(tracks)[:12])}")


def summary(track: Track) -> str:
    """The track in one line."""
    counts = ", ".join(f"{state} {count:,}" for state, count in track.counts().items())
    return f"track {track.name}, {len(track.frame):,} frames: {counts}"


def sound_of(video: str) -> Audio | None:
    """The sound for the overlay; where it is broken the overlay is silent, and that is said."""
    try:
        return decode_audio(video)
    except ItemError as error:
        echo(f"no sound: {error}")
        return None


def made_folder(path: Path) -> Path:
    """The path, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def check_suffix(path: Path | None, wanted: tuple[str, ...]) -> None:
    """Refuse a file that could not be written, before anything is searched."""
    if path is not None and path.suffix.lower() not in wanted:
        raise ConfigError(f"{path}: cannot be written; name a file that ends in {', '.join(wanted)}")


if __name__ == "__main__":
    sys.exit(tyro.cli(main, prog="python -m tools.data.inspect_track"))
