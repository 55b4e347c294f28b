"""The voice of one person in one video: syllables from the script, samples from the syllables.

A harmonic source with formants, breath and noise at 16 kHz. The mouth of the drawn face moves with the same syllables. Files are the
matter of ``media/write.py``.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from abaw_ray.data.synthetic.face.people import Person
from abaw_ray.data.synthetic.script import Stretch
from abaw_ray.data.synthetic.voice.prosody import MANNERS, Manner
from abaw_ray.media.audio import RATE

_STEP = 80
"""Samples from one value of pitch, loudness and colour to the next: 5 ms."""
_VOWELS: tuple[tuple[float, float, float], ...] = ((720, 1250, 2550), (530, 1800, 2500), (300, 2200, 2950), (500, 900, 2450), (330, 800, 2300))
"""First three formants in Hz."""
_WIDTHS = (90.0, 120.0, 180.0)
_HIGHEST = 4000.0
"""Hz; no harmonic above it."""


@dataclass
class Score:
    """What the voice does, one value every 5 ms."""

    pitch: Float[np.ndarray, " steps"]
    """Hz."""
    loud: Float[np.ndarray, " steps"]
    """0 where nothing is said; also how far the mouth opens."""
    tilt: Float[np.ndarray, " steps"]
    breath: Float[np.ndarray, " steps"]
    rough: Float[np.ndarray, " steps"]
    nasal: Float[np.ndarray, " steps"]
    formants: Float[np.ndarray, "3 steps"]


def compose(rng: np.random.Generator, person: Person, stretches: tuple[Stretch, ...], seconds: float) -> Score:
    """The score of all stretches that are not silent; every stretch has the same loudness and mean pitch, but for chance."""
    steps = int(np.ceil(seconds * RATE / _STEP)) + 1
    flat = np.zeros(steps)
    score = Score(
        pitch=np.full(steps, person.pitch),
        loud=flat.copy(),
        tilt=np.full(steps, 1.3),
        breath=flat.copy(),
        rough=flat.copy(),
        nasal=flat.copy(),
        formants=np.tile(np.array(_VOWELS[0])[:, None], steps) * person.tract,
    )
    for stretch in stretches:
        manners = MANNERS[stretch.expression]
        manner = manners[int(rng.integers(len(manners)))]
        first, last = round(stretch.start * RATE / _STEP), min(round(stretch.stop * RATE / _STEP), steps)
        if stretch.sound != "silent" and last - first > 4:
            _speak(rng, person, manner, score, first, last)
    return score


def _speak(rng: np.random.Generator, person: Person, manner: Manner, score: Score, first: int, last: int) -> None:
    """Fill one stretch with syllables in one manner."""
    at, log_pitch = first, np.zeros(last - first)
    rate = manner.rate * person.tempo * rng.uniform(0.9, 1.1)
    while at < last - 4:
        length = int(np.clip(RATE / _STEP / rate * max(rng.normal(1, manner.uneven), 0.4), 6, last - at))
        voiced = max(int(length * manner.held), 4)
        t = np.linspace(0, 1, voiced)
        here = slice(at, at + voiced)
        score.loud[here] = _swell(t, manner.attack) * rng.uniform(0.75, 1.0)
        log_pitch[at - first : at - first + voiced] = manner.span * _melody(t, manner.melody) * rng.uniform(0.7, 1.2) + rng.normal(0, 0.6)
        vowel = np.array(_VOWELS[rng.integers(len(_VOWELS))]) * person.tract * manner.bright * rng.uniform(0.97, 1.03, 3)
        score.formants[:, at : at + length] = vowel[:, None]
        at += length + (int(rng.uniform(0.15, 0.35) * RATE / _STEP) if rng.random() < manner.pause else 0)
    here = slice(first, last)
    time = np.arange(last - first) * _STEP / RATE
    shake = manner.tremor * np.sin(2 * np.pi * rng.uniform(7, 9) * time + rng.uniform(0, 6))
    loud = score.loud[here] * (1 + 0.6 * shake)
    score.loud[here] = loud * rng.uniform(0.75, 1.3) / max(np.sqrt((loud**2).mean()), 1e-6)
    said = loud > 0
    log_pitch = log_pitch - log_pitch[said].mean() + 0.8 * shake
    score.pitch[here] = person.pitch * rng.uniform(0.87, 1.15) * 2 ** (log_pitch / 12)
    score.tilt[here] = manner.tilt + person.tilt + rng.normal(0, 0.08)
    score.breath[here], score.rough[here], score.nasal[here] = max(manner.breath, person.breath), manner.rough, manner.nasal


def _swell(t: np.ndarray, attack: float) -> np.ndarray:
    return np.minimum(t / attack, 1) ** 0.7 * np.clip((1 - t) / (1 - attack), 0, 1) ** 0.6


def _melody(t: np.ndarray, kind: str) -> np.ndarray:
    if kind == "arc":
        return np.sin(np.pi * t) - 0.5
    if kind == "dip":
        return 0.5 - np.sin(np.pi * t)
    return (t - 0.5) if kind == "rise" else (0.5 - t)


def sing(rng: np.random.Generator, person: Person, score: Score, samples: int) -> Float32[np.ndarray, " samples"]:
    """The samples of a score, at the person's loudness, without any noise of the room."""
    grid, fine = np.arange(len(score.pitch)) * _STEP, np.arange(samples)
    pitch = np.interp(fine, grid, score.pitch)
    turn = 2 * np.pi * np.cumsum(pitch) / RATE
    numbers = range(1, int(_HIGHEST / score.pitch.min()) + 1)
    levels = np.stack([_resonance(score, k * score.pitch) * k**-score.tilt * (k * score.pitch < _HIGHEST) for k in numbers])
    levels *= np.sqrt(np.maximum(1 - score.breath, 0) * 2 / (levels**2).sum(axis=0))  # as loud in every manner and vowel
    wave = np.zeros(samples)
    for k, level in zip(numbers, levels, strict=True):
        if level.max() > 1e-3:
            wave += np.interp(fine, grid, level).astype(np.float32) * np.sin((k * turn % (2 * np.pi)).astype(np.float32))
    wave *= 1 + np.interp(fine, grid, score.rough) * np.sin(turn / 2)
    wave += np.interp(fine, grid, np.sqrt(score.breath)) * _hiss(rng, samples)
    wave *= np.interp(fine, grid, score.loud)
    level = np.sqrt((wave[np.interp(fine, grid, score.loud) > 0.05] ** 2).mean()) if (score.loud > 0.05).any() else 1.0
    return (person.loudness * wave / max(level, 1e-6)).astype(np.float32)


def _resonance(score: Score, hertz: np.ndarray) -> np.ndarray:
    gain = np.full(len(hertz), 0.04)
    for formant, width, height in zip(score.formants, _WIDTHS, (1.0, 0.7, 0.4), strict=True):
        gain = gain + height / (1 + ((hertz - formant) / width) ** 2)
    notch = 1 - 0.9 * score.nasal * np.exp(-(((hertz - 900) / 350) ** 2))
    return gain * notch + 0.8 * score.nasal * np.exp(-(((hertz - 280) / 90) ** 2))


def _hiss(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Breath: noise of loudness 1 that is weak below 1 kHz."""
    noise = rng.standard_normal(samples)
    return 0.8 * (noise - 0.75 * np.concatenate([[0.0], noise[:-1]]))


def room(rng: np.random.Generator, samples: int, loudness: float) -> Float32[np.ndarray, " samples"]:
    """Noise of a room: coloured, with a hum."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hertz = np.fft.rfftfreq(samples, 1 / RATE)
    noise = np.fft.irfft(spectrum / np.maximum(hertz, 40) ** rng.uniform(0.2, 0.9), samples)
    noise = noise / np.sqrt((noise**2).mean()) + 0.3 * np.sin(2 * np.pi * rng.choice([50, 60, 100]) * np.arange(samples) / RATE)
    return (loudness * noise).astype(np.float32)
