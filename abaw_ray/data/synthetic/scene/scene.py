"""Renders one video script: RGB frames, audio samples, and the labels of each annotated subject.

Frames, audio and labels each depend only on the settings and the script, not on the order of calls. ``tree.py`` writes the files.
"""

from collections.abc import Iterator, Sequence

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

_PROSODY_RATE = 200.0
"""Values of a prosody track per second."""


class Scene:
    """Renderer of one video."""

    def __init__(self, config: SyntheticConfig, video: VideoScript) -> None:
        self.config, self.video = config, video
        self.times = video.times(config.seed)
        self.identities = [make_identity(config.seed, subject.identity) for subject in video.subjects]
        self.prosody = [self._prosody(at, subject) for at, subject in enumerate(video.subjects)]

    def _rng(self, *names: object) -> np.random.Generator:
        return generator(self.config.seed, "scene", self.video.name, *names)

    def _prosody(self, index: int, subject: SubjectScript) -> ProsodyTrack:
        return sample_prosody(self._rng("score", index), self.identities[index], subject.segments, self.video.duration_s)

    def animations(self) -> list[Animation]:
        """Facial action units and head poses of each subject, frame by frame."""
        track_times = np.arange(len(self.prosody[0].loudness_curve)) / _PROSODY_RATE
        loudness = [np.interp(self.times, track_times, track.loudness_curve) for track in self.prosody]
        count = len(self.identities)
        return [
            animate(self._rng("act", index), self.config, self.identities[index], subject.segments, self.times, loudness[index], index, count)
            for index, subject in enumerate(self.video.subjects)
        ]

    def wall_and_camera(self) -> tuple[UInt8[np.ndarray, "h w 3"], Camera]:
        """Background, and lighting and camera, of the video."""
        rng = self._rng("camera")
        return background(rng, self.config.frame_size), Camera(rng, self.config.frame_size)

    def frames(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """RGB frames, one per entry of ``times``."""
        animations, rng = self.animations(), self._rng("frames")
        wall, camera = self.wall_and_camera()
        for index, image in enumerate(self.render(wall, animations)):
            yield camera.record(image, rng, animations[0].brightness[index], animations[0].blur[index])

    def render(self, wall: UInt8[np.ndarray, "h w 3"], animations: Sequence[Animation]) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """RGB images before the camera: the subjects and their occluders in front of the background, one per frame of these animations."""
        heads = [Head(identity) for identity in self.identities]
        for index in range(len(animations[0].poses)):
            image = wall.copy()
            for identity, head, animation in zip(self.identities, heads, animations, strict=True):
                occlusion = animation.occlusion[index]
                if occlusion == "away":
                    continue
                head.render(image, animation.poses[index], animation.activations[index])
                if occlusion in OCCLUDERS:
                    render_occluder(image, occlusion, identity, animation.poses[index], animation.shift[index], animation.color)
            yield image

    def audio(self) -> tuple[Float32[np.ndarray, " samples"] | None, float]:
        """Samples at 16 kHz and the time of the first one in seconds; None where the video has no audio stream."""
        if self.video.audio == "none":
            return None, 0.0
        samples = int(self.video.duration_s * RATE)
        wave = room_noise(self._rng("room"), samples, 10 ** (self._rng("floor").uniform(-62, -48) / 20))
        for index, (identity, track, subject) in enumerate(zip(self.identities, self.prosody, self.video.subjects, strict=True)):
            wave = wave + synthesize(self._rng("sing", index), identity, track, samples)
            for number, segment in enumerate(subject.segments):
                if segment.audio == "noisy":
                    interval = slice(int(segment.start * RATE), int(segment.stop * RATE))
                    noise = identity.loudness * self._rng("noise", index, number).uniform(1.0, 2.0)
                    wave[interval] += room_noise(self._rng("roar", index, number), len(wave[interval]), noise)
        wave = np.clip(wave, -1, 1).astype(np.float32)
        if self.video.audio == "late":
            return wave[int(0.4 * RATE) :], 0.4
        return (wave[: int(0.75 * samples)] if self.video.audio == "short" else wave), 0.0

    def labels(self, index: int) -> Int8[np.ndarray, " rows"]:
        """Annotation rows of one subject: its expressions with some unlabelled intervals; the script gives their number relative to the frames."""
        subject = self.video.subjects[index]
        stops = np.array([segment.stop for segment in subject.segments])
        segment_index = np.minimum(np.searchsorted(stops, self.times, side="right"), len(stops) - 1)
        labels = np.array([EXPRESSIONS.index(segment.expression) for segment in subject.segments])[segment_index]
        rng = self._rng("labels", index)
        for number, segment in enumerate(subject.segments):
            if rng.random() < 0.25 or segment.occlusion == "away":
                length = rng.uniform(0.2, 0.4) * (segment.stop - segment.start)
                start = segment.start + rng.uniform(0, 1) * (segment.stop - segment.start - length)
                labels[(segment_index == number) & (self.times >= start) & (self.times < start + length)] = UNLABELLED
        if subject.extra_rows > 0:
            labels = np.append(labels, np.full(subject.extra_rows, labels[-1]))
        return labels[: len(self.times) + subject.extra_rows].astype(np.int8)
