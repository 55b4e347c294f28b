"""Plays one video of the script: the frames as RGB pictures, the sound, and each annotated person's labels.

Each of the three depends on the seed and the video's name alone. Files are written by ``tree.py``.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Int8, UInt8

from abaw_ray.core.expressions import EXPRESSIONS, UNLABELLED
from abaw_ray.data.synthetic.config import SyntheticConfig, generator
from abaw_ray.data.synthetic.face.face import Head
from abaw_ray.data.synthetic.face.occluders import COVERS, cover
from abaw_ray.data.synthetic.face.people import make_person
from abaw_ray.data.synthetic.scene.acting import Part, act
from abaw_ray.data.synthetic.scene.camera import Camera, background
from abaw_ray.data.synthetic.script import Actor, Video
from abaw_ray.data.synthetic.voice.voice import Score, compose, room, sing
from abaw_ray.media.audio import RATE

_STEPS = 200.0
"""Values a second of a voice's score."""


class Scene:
    """One video, ready to be played."""

    def __init__(self, config: SyntheticConfig, video: Video) -> None:
        self.config, self.video = config, video
        self.times = video.times(config.seed)
        self.people = [make_person(config.seed, actor.person) for actor in video.actors]
        self.scores = [self._score(at, actor) for at, actor in enumerate(video.actors)]

    def _rng(self, *names: object) -> np.random.Generator:
        return generator(self.config.seed, "scene", self.video.name, *names)

    def _score(self, at: int, actor: Actor) -> Score:
        return compose(self._rng("score", at), self.people[at], actor.stretches, self.video.seconds)

    def parts(self) -> list[Part]:
        """What each person's face and head do, frame by frame."""
        grid = np.arange(len(self.scores[0].loud)) / _STEPS
        talk = [np.interp(self.times, grid, score.loud) for score in self.scores]
        room_for = len(self.people)
        return [
            act(self._rng("act", at), self.config, self.people[at], actor.stretches, self.times, talk[at], at, room_for)
            for at, actor in enumerate(self.video.actors)
        ]

    def frames(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        """The pictures, RGB, one a time of ``times``."""
        parts, heads = self.parts(), [Head(person) for person in self.people]
        rng = self._rng("camera")
        wall, camera = background(rng, self.config.picture), Camera(rng, self.config.picture)
        frame_rng = self._rng("frames")
        for at in range(len(self.times)):
            picture = wall.copy()
            for person, head, part in zip(self.people, heads, parts, strict=True):
                hide = part.hide[at]
                if hide == "away":
                    continue
                head.draw(picture, part.poses[at], part.pulls[at])
                if hide in COVERS:
                    cover(picture, hide, person, part.poses[at], part.shift[at], part.colour)
            yield camera.record(picture, frame_rng, parts[0].brightness[at], parts[0].blur[at])

    def sound(self) -> tuple[Float32[np.ndarray, " samples"] | None, float]:
        """The samples at 16 kHz and the time in seconds of the first one; None where the video has no audio stream."""
        if self.video.sound == "none":
            return None, 0.0
        samples = int(self.video.seconds * RATE)
        wave = room(self._rng("room"), samples, 10 ** (self._rng("floor").uniform(-62, -48) / 20))
        for at, (person, score, actor) in enumerate(zip(self.people, self.scores, self.video.actors, strict=True)):
            wave = wave + sing(self._rng("sing", at), person, score, samples)
            for number, stretch in enumerate(actor.stretches):
                if stretch.sound == "noisy":
                    here = slice(int(stretch.start * RATE), int(stretch.stop * RATE))
                    noise = person.loudness * self._rng("noise", at, number).uniform(1.0, 2.0)
                    wave[here] += room(self._rng("roar", at, number), len(wave[here]), noise)
        wave = np.clip(wave, -1, 1).astype(np.float32)
        if self.video.sound == "late":
            return wave[int(0.4 * RATE) :], 0.4
        return (wave[: int(0.75 * samples)] if self.video.sound == "short" else wave), 0.0

    def labels(self, at: int) -> Int8[np.ndarray, " rows"]:
        """Annotation rows of one person: the expressions, with stretches that nobody labelled, and as many rows as the script says."""
        actor = self.video.actors[at]
        stops = np.array([stretch.stop for stretch in actor.stretches])
        which = np.minimum(np.searchsorted(stops, self.times, side="right"), len(stops) - 1)
        labels = np.array([EXPRESSIONS.index(stretch.expression) for stretch in actor.stretches])[which]
        rng = self._rng("labels", at)
        for number, stretch in enumerate(actor.stretches):
            if rng.random() < 0.25 or stretch.hide == "away":
                length = rng.uniform(0.2, 0.4) * (stretch.stop - stretch.start)
                start = stretch.start + rng.uniform(0, 1) * (stretch.stop - stretch.start - length)
                labels[(which == number) & (self.times >= start) & (self.times < start + length)] = UNLABELLED
        if actor.rows > 0:
            labels = np.append(labels, np.full(actor.rows, labels[-1]))
        return labels[: len(self.times) + actor.rows].astype(np.int8)
