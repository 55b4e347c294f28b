"""Second half of an analysis, for a GPU where there is one: the files of ``find_faces`` -> the analysis of the video."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float

from abaw_ray.core.frame_times import frame_ends
from abaw_ray.core.schema import MAIN_TRACK
from abaw_ray.core.settings import to_plain
from abaw_ray.faces.tracking.time_range import RangeFrames
from abaw_ray.media.audio import Audio
from abaw_ray.media.playback.audio_level import audio_level
from abaw_ray.predict.analysis import Analysis
from abaw_ray.predict.analysis_data import AudioLevel, ModelInfo, VideoInfo
from abaw_ray.predict.bundle.metadata import BundleMetadata
from abaw_ray.predict.config import AnalysisConfig
from abaw_ray.predict.find_faces import FACES_FILE, FoundFaces, read_found
from abaw_ray.predict.frame_selection import nearest_to_grid
from abaw_ray.predict.models.scores import FrameModel
from abaw_ray.predict.table import FACE_COLUMNS, analysis_table

_LEVEL_INTERVAL_S = 0.1
"""Seconds between two values of the loudness that pages show; ours."""
_SOUND_STATES = ("present", "absent", "unused")
"""Values of ``FoundFaces.audio`` that are not the reason of a failure."""
_BATCH_ROWS = 1024
"""Rows whose chips are in memory at the same time; ours."""


class ScoreFaces:
    """Scores the frames of a video; built once per worker."""

    def __init__(self, model: FrameModel, metadata: BundleMetadata, config: AnalysisConfig) -> None:
        self.model, self.metadata, self.config = model, metadata, config

    def __call__(self, video: dict, folder: Path) -> Analysis:
        """Analyze one video.

        Args:
            video: A ``VIDEO`` row: ``video`` and ``uri`` are used.
            folder: The folder that ``FindFaces`` filled for it.

        Raises:
            ItemError: a chip cannot be decoded.
            StageError: a model returns numbers that are not finite.
        """
        found, audio = read_found(folder)
        rows = pq.ParquetFile(folder / FACES_FILE).read(columns=list(FACE_COLUMNS))
        info = _video_info(video, found, rows, audio)
        selected = self._selected(rows)
        rows = rows.filter(pa.array(selected))
        thumbnail = _Thumbnail()
        batches = thumbnail.watch(_batches(folder / FACES_FILE, selected))
        scores = list(self.model.score(batches, rows["time"].to_numpy(), audio)) if len(rows) else []
        return Analysis(
            table=analysis_table(rows, scores, self.metadata.postprocessing),
            video=info,
            model=model_info(self.metadata),
            level=_level(audio, info),
            thumbnail=thumbnail.jpeg,
            notes=_notes(found, audio, self.config),
            settings=to_plain(self.config),
        )

    def _selected(self, rows: pa.Table) -> Bool[np.ndarray, " rows"]:
        """Whether each FACE row is scored."""
        tracks, frames = rows["track"].to_numpy(), rows["frame"].to_numpy()
        main = tracks == MAIN_TRACK
        times = rows["time"].to_numpy()[main]
        wanted = frames[main][nearest_to_grid(times, self.config.fps)]
        return np.isin(frames, wanted) & (main | (self.config.people == "all"))


class _Thumbnail:
    """Keeps the chip of the main person with the best detection."""

    def __init__(self) -> None:
        self.jpeg: bytes | None = None
        self._score = -np.inf

    def watch(self, batches: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """The same batches."""
        for batch in batches:
            scores: Float[np.ndarray, " rows"] = batch["score"].to_numpy(zero_copy_only=False).astype(float)
            scores[(batch["track"].to_numpy() != MAIN_TRACK) | np.isnan(scores)] = -np.inf
            if len(scores) and scores.max() > self._score:
                self._score, self.jpeg = scores.max(), batch["chip"][int(scores.argmax())].as_py()
            yield batch


def _batches(path: Path, selected: Bool[np.ndarray, " rows"]) -> Iterator[pa.Table]:
    """The selected rows of a FACE file with their chips, a few at a time."""
    start = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH_ROWS):
            rows = selected[start : start + len(batch)]
            start += len(batch)
            if rows.any():
                yield pa.Table.from_batches([batch]).filter(pa.array(rows))


def _video_info(video: dict, found: FoundFaces, rows: pa.Table, audio: Audio | None) -> VideoInfo:
    times = rows["time"].to_numpy()[rows["track"].to_numpy() == MAIN_TRACK]
    ends, near = frame_ends(times), found.range_frames
    return VideoInfo(
        name=video["video"],
        uri=video["uri"],
        width=found.width,
        height=found.height,
        frames=found.frames,
        start_s=near.video_start or 0.0,
        duration_s=float(ends[-1] - times[0]) if len(times) > 1 else 0.0,
        audio=found.audio,
        damage=_damage(found, audio),
        analyzed_from_s=_middle(near.before, near.first),
        analyzed_to_s=_middle(near.last, near.after),
        end_s=float(ends[-1]) if len(times) > 1 else (float(times[0]) if len(times) else 0.0),
    )


def _middle(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else (a + b) / 2


def _damage(found: FoundFaces, audio: Audio | None) -> str:
    """As ``VideoInfo.damage``. A damaged packet of audio leaves a gap in it; audio that the model does not read is not examined."""
    if found.error:
        return found.error
    if found.audio not in _SOUND_STATES:
        return found.audio
    return "its audio has gaps" if audio is not None and len(audio.audible_spans()) > 1 else ""


def model_info(metadata: BundleMetadata) -> ModelInfo:
    """What results say about the model."""
    return ModelInfo(name=metadata.name, identity=metadata.identity, license=metadata.license.id, notices=metadata.notices)


def _level(audio: Audio | None, video: VideoInfo) -> AudioLevel | None:
    """The level in the analyzed part."""
    if audio is None or not len(audio.samples):
        return None
    times, level = audio_level(audio, window_s=_LEVEL_INTERVAL_S)
    first, last = video.analyzed_from_s, video.analyzed_to_s
    inside = (times > (-np.inf if first is None else first - _LEVEL_INTERVAL_S)) & (times < (np.inf if last is None else last + _LEVEL_INTERVAL_S))
    times, level = times[inside], level[inside]
    if not len(times):
        return None
    return AudioLevel(start_s=float(times[0]), interval_s=_LEVEL_INTERVAL_S, dbfs=level.astype(np.float32))


def _notes(found: FoundFaces, audio: Audio | None, config: AnalysisConfig) -> tuple[str, ...]:
    notes, skipped = [], found.range_frames.skipped
    if not found.analyzed:
        return (_no_frame(found.range_frames, config),)
    if found.error:
        analyzed = f"frames {skipped + 1:,} to {found.frames:,}" if skipped else f"the first {_frames(found.frames)}"
        notes.append(f"{found.error}; {analyzed} {'is' if found.analyzed == 1 else 'are'} analyzed")
    if not found.faces:
        basis = "its frames are scored by the sound alone" if audio is not None and len(audio.samples) else "no frame is scored"
        notes.append(f"no face in {_frames(found.analyzed)}: {basis}; lower --min-score finds more uncertain faces")
    if found.audio not in _SOUND_STATES:
        notes.append(f"its frames are scored without sound: {found.audio}")
    return tuple(notes)


def _no_frame(near: RangeFrames, config: AnalysisConfig) -> str:
    """Why no frame is analyzed."""
    if not config.end:
        where = f"from {config.start:.10g} s on"
    else:
        where = f"between {config.start:.10g} and {config.end:.10g} s" if config.start else f"before {config.end:.10g} s"
    if near.after is None:
        return f"no frame {where}; the last frame of the video is at {near.before or 0:.2f} s"
    if near.before is None:
        return f"no frame {where}; the first frame of the video is at {near.after:.2f} s"
    return f"no frame {where}; the frames around it are at {near.before:.3f} and {near.after:.3f} s"


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count:,} frames"
