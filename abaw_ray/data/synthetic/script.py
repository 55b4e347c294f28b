"""Settings -> one ``VideoScript`` per file: its subjects, their expression segments, occlusions and audio. Nothing is rendered here.

Expressions are sampled without replacement over all videos of a split, so every split contains every expression whatever its number of videos.
"""

from dataclasses import dataclass, replace

import numpy as np

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.data.synthetic.config import SyntheticConfig, generator
from abaw_ray.data.synthetic.face.occluders import OCCLUDERS
from abaw_ray.data.synthetic.names import VideoName, sample_names

CLASS_SHARES: tuple[float, ...] = (1.7, 0.9, 0.8, 0.8, 1.3, 1.1, 0.9, 1.4)
"""Relative frequency of the expressions, in the order of ``EXPRESSIONS``: moderately imbalanced, as far as a small number of videos allows."""
CUES: tuple[str, ...] = ("both", "voice", "face", "both", "voice", "both", "face")
"""Modality that shows the expression; the values are assigned in turn to the segments of each expression."""
_OCCLUSIONS: tuple[str, ...] = ("faint", "faint", *OCCLUDERS, "edge", "away")
_EXTRA_ROWS: tuple[int, ...] = (0, 1, 0, 1, -1)
"""Annotation rows minus frames, assigned in turn."""
_AUDIO_TRACKS: tuple[str, ...] = ("whole", "none", "late", "whole", "whole", "short")
"""Audio tracks of the first training videos; all others are whole. The audio of an AVI (the fourth) cannot begin late."""


@dataclass(frozen=True, kw_only=True)
class ExpressionSegment:
    """An interval in which one subject keeps one expression."""

    start: float
    stop: float
    """Seconds."""
    expression: str
    occlusion: str
    """Why the face shows little expression: faint, an occluder, edge (half outside the frame), away (absent); empty for a clear face."""
    audio: str
    """clear, noisy, or silent."""


@dataclass(frozen=True, kw_only=True)
class SubjectScript:
    """One annotated subject of a video."""

    name: str
    """Name of the annotation file: the name of the video, with a suffix where two subjects are annotated."""
    identity: str
    split: str
    """train, val or test."""
    extra_rows: int
    """Annotation rows minus frames."""
    segments: tuple[ExpressionSegment, ...]


@dataclass(frozen=True, kw_only=True)
class VideoScript:
    """One video file."""

    name: str
    path: str
    """Below the root of the tree."""
    duration_s: float
    fps: float
    variable_fps: bool
    audio: str
    """whole, none (no audio stream), late (begins after the first frame), short (ends before the last frame)."""
    subjects: tuple[SubjectScript, ...]

    @property
    def frames(self) -> int:
        """Number of frames."""
        return round(self.duration_s * self.fps)

    def times(self, seed: int) -> np.ndarray:
        """Presentation time of every frame in seconds."""
        count = self.frames
        if not self.variable_fps:
            return np.arange(count) / self.fps
        rng = generator(seed, "times", self.name)
        gaps = rng.uniform(0.5, 1.5, count) * np.where(rng.random(count) < 0.03, 3, 1)
        return np.concatenate([[0.0], np.cumsum(gaps)[:-1]]) * self.duration_s / gaps.sum()


def make_script(config: SyntheticConfig) -> list[VideoScript]:
    """Scripts of all videos; the left person of the two-person video is in Train_Set, the right one in Validation_Set."""
    videos: list[VideoScript] = []
    for split, names in sample_names(config).items():
        assigned = _assign_expressions(config, split, len(names))
        videos += [_video(config, split, index, name, segments) for index, (name, segments) in enumerate(zip(names, assigned, strict=True))]
    return _join_pair(videos)


def _assign_expressions(config: SyntheticConfig, split: str, count: int) -> list[list[tuple[str, str]]]:
    """Expressions and cues of each video's segments; consecutive segments differ in expression."""
    rng = generator(config.seed, "deal", split)
    total = count * config.segments_per_video
    counts = np.maximum(np.floor(total * np.array(CLASS_SHARES) / sum(CLASS_SHARES)), 1).astype(int)
    while counts.sum() > total:
        counts[counts.argmax()] -= 1
    while counts.sum() < total:
        counts[np.argmax(np.array(CLASS_SHARES) / counts)] += 1
    labels = rng.permutation(np.repeat(np.arange(len(EXPRESSIONS)), counts))
    for index in range(1, total):
        if labels[index] == labels[index - 1] and index % config.segments_per_video:
            candidates = (k for k in rng.permutation(total) if labels[k] != labels[index] and not _is_adjacent(labels, int(k), int(labels[index])))
            other = next(candidates, index)
            labels[index], labels[other] = labels[other], labels[index]
    next_cue = 3 * np.arange(len(EXPRESSIONS))  # an offset per expression, so that their first cues differ
    segments = []
    for label in labels:
        segments.append((EXPRESSIONS[label], CUES[next_cue[label] % len(CUES)]))
        next_cue[label] += 1
    return [segments[start : start + config.segments_per_video] for start in range(0, total, config.segments_per_video)]


def _is_adjacent(labels: np.ndarray, index: int, label: int) -> bool:
    """Whether the label occurs at the index or next to it."""
    return label in labels[max(index - 1, 0) : index + 2]


def _video(config: SyntheticConfig, split: str, index: int, name: VideoName, assigned: list[tuple[str, str]]) -> VideoScript:
    rng = generator(config.seed, "script", name.video)
    low, high = config.segment_duration_s
    seconds = float(np.clip(config.video_duration_s * rng.uniform(0.8, 1.2), low * len(assigned), high * len(assigned)))
    weights = rng.uniform(0.5, 1.5, len(assigned))
    lengths = low + (seconds - low * len(assigned)) * weights / weights.sum()
    mean = seconds / len(assigned)
    lengths = mean + (lengths - mean) * min(1.0, (high - mean) / max(lengths.max() - mean, 1e-9))
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    segments = [_segment(rng, starts[i], starts[i + 1], *assigned[i]) for i in range(len(assigned))]
    audio = _AUDIO_TRACKS[index] if split == "train" and index < len(_AUDIO_TRACKS) else "whole"
    if audio != "whole":  # audio that may be missing must not be the only cue
        segments = [replace(segment, occlusion="") for segment in segments]
    subject = SubjectScript(
        name=name.annotation, identity=name.identity, split=split, extra_rows=_EXTRA_ROWS[index % len(_EXTRA_ROWS)], segments=tuple(segments)
    )
    if split == "test":
        subject = replace(subject, extra_rows=0)
    return VideoScript(
        name=name.video, path=name.path, duration_s=seconds, fps=name.fps, variable_fps=name.variable_fps, audio=audio, subjects=(subject,)
    )


def _segment(rng: np.random.Generator, start: float, stop: float, expression: str, cue: str) -> ExpressionSegment:
    occlusion = str(rng.choice(_OCCLUSIONS)) if cue == "voice" else ""
    audio = str(rng.choice(["silent", "noisy"])) if cue == "face" else "clear"
    return ExpressionSegment(start=float(start), stop=float(stop), expression=expression, occlusion=occlusion, audio=audio)


def _join_pair(videos: list[VideoScript]) -> list[VideoScript]:
    """The scripts with those of the left and the right person merged into one video, in which they speak in turn and are not occluded."""
    left, right = (next(video for video in videos if video.subjects[0].name.endswith(side)) for side in ("_left", "_right"))
    subjects = []
    for position, script in enumerate((left, right)):
        segments = tuple(
            replace(segment, start=left_segment.start, stop=left_segment.stop, occlusion="", audio="clear" if index % 2 == position else "silent")
            for index, (segment, left_segment) in enumerate(zip(script.subjects[0].segments, left.subjects[0].segments, strict=True))
        )
        subjects.append(replace(script.subjects[0], segments=segments))
    return [replace(left, subjects=tuple(subjects)) if video is left else video for video in videos if video is not right]
