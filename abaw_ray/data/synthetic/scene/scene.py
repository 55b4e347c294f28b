"""Renders one video script: RGB frames, audio samples, and the labels of each annotated subject.

Each of the three depends on the seed and the video's name alone. ``tree.py`` writes the files.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Int8, UInt8

from abaw_ray.core.expressions import EXPRESSIONS, UNLABELLED
from abaw_ray.data.synthetic.config import SyntheticConfig, generator
from abaw_ray.data.synthetic.face.face import Head
from abaw_ray.data.synthetic.face.identity import make_identity
from abaw_ray.data.synthetic.face.occluders import OCCLUDERS, render_occluder
from abaw_ray.data.synthetic.scene.animation import Animation, animate
from abaw_ray.data.synthetic.scene.camera import Camera, background
from abaw_ray.data.synthetic.script import SubjectScript, VideoScript
from abaw_ray.data.synthetic.voice.voice import ProsodyTrack, room_noise, sample_prosody, synthesize
from abaw_ray.media.audio import RATE

_STEPS = 200.0
"""Values per second of a prosody track."""


class Scene:
    """Renderer of one video."""

    def __init__(self, config: SyntheticConfig, video: VideoScript) -> None:
        self.config, self.video = config, video
        self.times = video.times(config.seed)
        self.identities = [make_identity(config.seed, subject.identity) for subject in video.subjects]
        self.prosody = [self._prosody(at, subject) for at, subject in enumerate(video.subjects)]

    def _rng(self, *names: object) -> np.random.Generator:
        return generator(self.config.seed, "scene", self.video.name, *names)

    def _prosody(self, at: int, subject: SubjectScript) -> ProsodyTrack:
        return sample_prosody(self._rng("score", at), self.identities[at], subject.segments, self.video.duration_s)

    def animations(self) -> list[Animation]:
        """Facial action units and head poses of each subject, frame by frame."""
        grid = np.arange(len(self.prosody[0].loudness_curve)) / _STEPS
        talk = [np.interp(self.times, grid, score.loudness_curve) for score in self.prosody]
        count = len(self.identities)
        return [
            animate(self._rng("act", at), self.config, self.identities[at], subject.segments, self.times, talk[at], at, count)
            for at, subject in enumerate(self.video.subjects)
        ]

    def frames(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """RGB frames, one per entry of ``times``."""
        animations, heads = self.animations(), [Head(identity) for identity in self.identities]
        rng = self._rng("camera")
        wall, camera = background(rng, self.config.frame_size), Camera(rng, self.config.frame_size)
        frame_rng = self._rng("frames")
        for at in range(len(self.times)):
            image = wall.copy()
            for identity, head, animation in zip(self.identities, heads, animations, strict=True):
                occlusion = animation.occlusion[at]
                if occlusion == "away":
                    continue
                head.render(image, animation.poses[at], animation.activations[at])
                if occlusion in OCCLUDERS:
                    render_occluder(image, occlusion, identity, animation.poses[at], animation.shift[at], animation.colour)
            yield camera.record(image, frame_rng, animations[0].brightness[at], animations[0].blur[at])

    def audio(self) -> tuple[Float32[np.ndarray, " samples"] | None, float]:
        """Samples at 16 kHz and the time of the first one in seconds; None where the video has no audio stream."""
        if self.video.audio == "none":
            return None, 0.0
        samples = int(self.video.duration_s * RATE)
        wave = room_noise(self._rng("room"), samples, 10 ** (self._rng("floor").uniform(-62, -48) / 20))
        for at, (identity, score, subject) in enumerate(zip(self.identities, self.prosody, self.video.subjects, strict=True)):
            wave = wave + synthesize(self._rng("sing", at), identity, score, samples)
            for number, segment in enumerate(subject.segments):
                if segment.audio == "noisy":
                    here = slice(int(segment.start * RATE), int(segment.stop * RATE))
                    noise = identity.loudness * self._rng("noise", at, number).uniform(1.0, 2.0)
                    wave[here] += room_noise(self._rng("roar", at, number), len(wave[here]), noise)
        wave = np.clip(wave, -1, 1).astype(np.float32)
        if self.video.audio == "late":
            return wave[int(0.4 * RATE) :], 0.4
        return (wave[: int(0.75 * samples)] if self.video.audio == "short" else wave), 0.0

    def labels(self, at: int) -> Int8[np.ndarray, " rows"]:
        """Annotation rows of one subject: its expressions, some unlabelled intervals, and the number of rows in the script."""
        subject = self.video.subjects[at]
        stops = np.array([segment.stop for segment in subject.segments])
        which = np.minimum(np.searchsorted(stops, self.times, side="right"), len(stops) - 1)
        labels = np.array([EXPRESSIONS.index(segment.expression) for segment in subject.segments])[which]
        rng = self._rng("labels", at)
        for number, segment in enumerate(subject.segments):
            if rng.random() < 0.25 or segment.occlusion == "away":
                length = rng.uniform(0.2, 0.4) * (segment.stop - segment.start)
                start = segment.start + rng.uniform(0, 1) * (segment.stop - segment.start - length)
                labels[(which == number) & (self.times >= start) & (self.times < start + length)] = UNLABELLED
        if subject.extra_rows > 0:
            labels = np.append(labels, np.full(subject.extra_rows, labels[-1]))
        return labels[: len(self.times) + subject.extra_rows].astype(np.int8)
