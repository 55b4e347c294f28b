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
"""Relative frequency of the expressions, in the order of ``EXPRESSIONS``: moderately imbalanced, as far as few videos allow."""
CUES: tuple[str, ...] = ("both", "voice", "face", "both", "voice", "both", "face")
"""Modality that shows the expression; assigned to the segments of each expression in turn."""
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
    """Why the face shows little: faint, an occluder, edge (half outside the frame), away (absent); empty where it is clear."""
    audio: str
    """clear, noisy, or silent."""


@dataclass(frozen=True, kw_only=True)
class SubjectScript:
    """One annotated subject of a video."""

    name: str
    """Name of the annotation file: the video's, with a suffix where two subjects are annotated."""
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
    """Scripts of all videos; the left half of the two-person video is in Train_Set, the right half in Validation_Set."""
    videos: list[VideoScript] = []
    for split, names in sample_names(config).items():
        assigned = _assign_expressions(config, split, len(names))
        videos += [_video(config, split, at, name, animations) for at, (name, animations) in enumerate(zip(names, assigned, strict=True))]
    return _join_pair(videos)


def _assign_expressions(config: SyntheticConfig, split: str, count: int) -> list[list[tuple[str, str]]]:
    """Expressions and cues of each video's segments; consecutive segments differ in expression."""
    rng = generator(config.seed, "deal", split)
    places = count * config.segments_per_video
    numbers = np.maximum(np.floor(places * np.array(CLASS_SHARES) / sum(CLASS_SHARES)), 1).astype(int)
    while numbers.sum() > places:
        numbers[numbers.argmax()] -= 1
    while numbers.sum() < places:
        numbers[np.argmax(np.array(CLASS_SHARES) / numbers)] += 1
    deck = rng.permutation(np.repeat(np.arange(len(EXPRESSIONS)), numbers))
    for at in range(1, places):
        if deck[at] == deck[at - 1] and at % config.segments_per_video:
            other = next((k for k in rng.permutation(places) if deck[k] != deck[at] and not _is_adjacent(deck, int(k), int(deck[at]))), at)
            deck[at], deck[other] = deck[other], deck[at]
    turn = 3 * np.arange(len(EXPRESSIONS))  # an offset per expression, so that first cues differ
    cards = []
    for card in deck:
        cards.append((EXPRESSIONS[card], CUES[turn[card] % len(CUES)]))
        turn[card] += 1
    return [cards[at : at + config.segments_per_video] for at in range(0, places, config.segments_per_video)]


def _is_adjacent(deck: np.ndarray, at: int, card: int) -> bool:
    return card in deck[max(at - 1, 0) : at + 2]


def _video(config: SyntheticConfig, split: str, at: int, name: VideoName, assigned: list[tuple[str, str]]) -> VideoScript:
    rng = generator(config.seed, "script", name.video)
    low, high = config.segment_duration_s
    seconds = float(np.clip(config.video_duration_s * rng.uniform(0.8, 1.2), low * len(assigned), high * len(assigned)))
    spare = rng.uniform(0.5, 1.5, len(assigned))
    lengths = low + (seconds - low * len(assigned)) * spare / spare.sum()
    mean = seconds / len(assigned)
    lengths = mean + (lengths - mean) * min(1.0, (high - mean) / max(lengths.max() - mean, 1e-9))
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    segments = [_segment(rng, starts[i], starts[i + 1], *assigned[i]) for i in range(len(assigned))]
    audio = _AUDIO_TRACKS[at] if split == "train" and at < len(_AUDIO_TRACKS) else "whole"
    if audio != "whole":  # audio that may be missing must not be the only cue
        segments = [replace(segment, occlusion="") for segment in segments]
    subject = SubjectScript(
        name=name.annotation, identity=name.identity, split=split, extra_rows=_EXTRA_ROWS[at % len(_EXTRA_ROWS)], segments=tuple(segments)
    )
    rows = replace(subject, extra_rows=0) if split == "test" else subject
    return VideoScript(
        name=name.video, path=name.path, duration_s=seconds, fps=name.fps, variable_fps=name.variable_fps, audio=audio, subjects=(rows,)
    )


def _segment(rng: np.random.Generator, start: float, stop: float, expression: str, cue: str) -> ExpressionSegment:
    occlusion = str(rng.choice(_OCCLUSIONS)) if cue == "voice" else ""
    audio = str(rng.choice(["silent", "noisy"])) if cue == "face" else "clear"
    return ExpressionSegment(start=float(start), stop=float(stop), expression=expression, occlusion=occlusion, audio=audio)


def _join_pair(videos: list[VideoScript]) -> list[VideoScript]:
    """The scripts with the two halves of the pair merged into one video: they speak in turn and are not occluded."""
    left, right = (next(video for video in videos if video.subjects[0].name.endswith(side)) for side in ("_left", "_right"))
    subjects = []
    for place, half in enumerate((left, right)):
        segments = tuple(
            replace(segment, start=time.start, stop=time.stop, occlusion="", audio="clear" if at % 2 == place else "silent")
            for at, (segment, time) in enumerate(zip(half.subjects[0].segments, left.subjects[0].segments, strict=True))
        )
        subjects.append(replace(half.subjects[0], segments=segments))
    return [replace(left, subjects=tuple(subjects)) if video is left else video for video in videos if video is not right]
