"""Features of the encoders per fold, joined with speech vectors and annotations in the task that needs them: one set of frames at a time."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.stages.annotations import AnnotationSet, annotated, frame_sizes, gb_to_join, outputs_of
from abaw_ray.cluster.stages.features import EXTRACT_FEATURES
from abaw_ray.cluster.stages.fold_features import EXTRACT_FOLD_FEATURES
from abaw_ray.cluster.stages.sources import videos
from abaw_ray.cluster.stages.stage_one.fold_encoders import TRAIN_FOLD_ENCODERS
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.subjects import SPLITS, Split
from abaw_ray.encoder.folds.plan import OFFICIAL, cv_name
from abaw_ray.fusion.frames import Frames, join_frames, with_visual

_SHARED_COLUMNS = ["video", "track", "frame", "time", "shot", "seen", "heard", "speech"]
"""Columns of FEATURE outputs that do not depend on the encoder."""


@dataclass(frozen=True, kw_only=True)
class EncoderFrames:
    """Where the features of every encoder per fold are; sent to every worker."""

    storage: Storage
    annotations: AnnotationSet
    features: dict[str, str]
    """FEATURE output by video, of the videos with visual vectors of every encoder that needs them."""
    visual: dict[str, dict[str, str]]
    """VISUAL output by encoder and video."""
    train_subjects: dict[str, frozenset[str]]
    """Subjects whose chips trained the encoder, by its name."""
    video_of: dict[str, str]
    """Video of every subject of the data set."""
    split_bytes: dict[Split, float]
    """Size of the frames of each split."""

    def memory_gb(self, *splits: Split) -> float:
        """GiB that a task needs to read and keep the frames of these splits."""
        return gb_to_join(sum(self.split_bytes[split] for split in splits))

    def official(self, *splits: Split) -> Frames:
        """Frames of these splits with the features of ``official``."""
        return self._frames(OFFICIAL, splits)

    def cv(self, fold: int) -> Frames:
        """Frames of train and validation with the features of one fold's encoder."""
        return self._frames(cv_name(fold), ("train", "val"))

    def test(self, fold: int) -> Frames:
        """Frames of the test release with the features of one fold's encoder."""
        return self._frames(cv_name(fold), ("test",))

    @property
    def missing_subjects(self) -> dict[str, str]:
        """Annotated subjects whose video lacks the features of an encoder, with the reason."""
        reason = "its video lacks the features of an encoder; see the failures of the features and fold_features stages"
        return {name: reason for name in self.annotations.labels if self.video_of.get(name) not in self.features}

    def _frames(self, encoder: str, splits: Collection[str]) -> Frames:
        chosen = {video for name, video in self.video_of.items() if self.annotations.splits[name] in splits}

        def tables() -> Iterator[pa.Table]:
            for video in sorted(self.features.keys() & chosen):
                shared = self.storage.read_table(self.features[video], columns=_SHARED_COLUMNS)
                yield with_visual(shared, self.storage.read_table(self.visual[encoder][video]))

        labels = self.annotations.labels_of(splits)
        return join_frames(tables(), labels, self.annotations.splits, self.train_subjects[encoder], only_splits=splits)


def encoder_frames(run: Run[Any]) -> EncoderFrames | None:
    """The features of the encoders per fold; None where there are no such encoders."""
    if not run.config.fold_encoders.are_trained:
        return None
    annotations, record = annotated(run), EXTRACT_FEATURES.require(run)
    features = record.outputs
    outputs, encoders = EXTRACT_FOLD_FEATURES.require(run).outputs, TRAIN_FOLD_ENCODERS.require(run).figures["encoders"]
    visual: dict[str, dict[str, str]] = {name: {} for name in encoders}
    for item, path in outputs.items():
        name, _, video = item.partition("/")
        visual[name][video] = path
    video_of = {subject["track"]: row["video"] for row in videos(run).values() for subject in row["subjects"]}
    size_of = frame_sizes(run, record)
    annotated_videos = {video_of[name] for name in annotations.labels}
    return EncoderFrames(
        storage=run.storage,
        annotations=annotations,
        features={
            video: path
            for video, path in features.items()
            if all(video in of_encoder for name, of_encoder in visual.items() if name != OFFICIAL or video in annotated_videos)
        },
        visual=visual,
        train_subjects={name: frozenset(encoder["subjects"]) for name, encoder in encoders.items()},
        video_of=video_of,
        split_bytes={split: size_of(outputs_of(run, features, annotations, (split,))) for split in SPLITS},
    )
