"""Voice of one subject in one video: expression segments -> prosody track -> samples at 16 kHz.

A harmonic source with formants, breath noise and room noise. The mouth of the rendered face moves with the same syllables.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from abaw_ray.data.synthetic.face.identity import Identity
from abaw_ray.data.synthetic.script import ExpressionSegment
from abaw_ray.data.synthetic.voice.prosody import SPEAKING_STYLES, SpeakingStyle
from abaw_ray.media.audio import RATE

_STEP = 80
"""Audio samples per value of the prosody track: 5 ms."""
_VOWELS: tuple[tuple[float, float, float], ...] = ((720, 1250, 2550), (530, 1800, 2500), (300, 2200, 2950), (500, 900, 2450), (330, 800, 2300))
"""First three formants of each vowel in Hz."""
_BANDWIDTHS_HZ = (90.0, 120.0, 180.0)
"""Bandwidths of the three formants."""
_MAX_HARMONIC_HZ = 4000.0
"""Highest frequency of a harmonic."""


@dataclass
class ProsodyTrack:
    """Parameters of the voice, one value every 5 ms."""

    pitch: Float[np.ndarray, " steps"]
    """Fundamental frequency in Hz."""
    loudness_curve: Float[np.ndarray, " steps"]
    """Amplitude factor, 0 where the subject is silent; it also opens the mouth."""
    tilt: Float[np.ndarray, " steps"]
    """As in ``SpeakingStyle``, like the next three."""
    breathiness: Float[np.ndarray, " steps"]
    roughness: Float[np.ndarray, " steps"]
    nasal: Float[np.ndarray, " steps"]
    formants: Float[np.ndarray, "3 steps"]
    """Hz."""


def sample_prosody(rng: np.random.Generator, identity: Identity, segments: tuple[ExpressionSegment, ...], seconds: float) -> ProsodyTrack:
    """Prosody of all segments that are not silent; loudness and mean pitch have the same distribution for every expression."""
    steps = int(np.ceil(seconds * RATE / _STEP)) + 1
    flat = np.zeros(steps)
    prosody = ProsodyTrack(
        pitch=np.full(steps, identity.pitch),
        loudness_curve=flat.copy(),
        tilt=np.full(steps, 1.3),
        breathiness=flat.copy(),
        roughness=flat.copy(),
        nasal=flat.copy(),
        formants=np.tile(np.array(_VOWELS[0])[:, None], steps) * identity.tract,
    )
    for segment in segments:
        styles = SPEAKING_STYLES[segment.expression]
        style = styles[int(rng.integers(len(styles)))]
        first, last = round(segment.start * RATE / _STEP), min(round(segment.stop * RATE / _STEP), steps)
        if segment.audio != "silent" and last - first > 4:
            _add_syllables(rng, identity, style, prosody, first, last)
    return prosody


def _add_syllables(rng: np.random.Generator, identity: Identity, style: SpeakingStyle, prosody: ProsodyTrack, first: int, last: int) -> None:
    """Fill one segment with syllables of one style, in place."""
    start, log_pitch = first, np.zeros(last - first)
    rate = style.rate * identity.tempo * rng.uniform(0.9, 1.1)
    while start < last - 4:
        length = int(np.clip(RATE / _STEP / rate * max(rng.normal(1, style.length_jitter), 0.4), 6, last - start))
        voiced = max(int(length * style.voiced_share), 4)
        t = np.linspace(0, 1, voiced)
        span = slice(start, start + voiced)
        prosody.loudness_curve[span] = _loudness_envelope(t, style.attack) * rng.uniform(0.75, 1.0)
        log_pitch[start - first : start - first + voiced] = style.pitch_range * _pitch_contour(t, style.melody) * rng.uniform(0.7, 1.2) + rng.normal(
            0, 0.6
        )
        vowel = np.array(_VOWELS[rng.integers(len(_VOWELS))]) * identity.tract * style.formant_scale * rng.uniform(0.97, 1.03, 3)
        prosody.formants[:, start : start + length] = vowel[:, None]
        start += length + (int(rng.uniform(0.15, 0.35) * RATE / _STEP) if rng.random() < style.pause else 0)
    span = slice(first, last)
    time = np.arange(last - first) * _STEP / RATE
    tremor = style.tremor * np.sin(2 * np.pi * rng.uniform(7, 9) * time + rng.uniform(0, 6))
    loudness_curve = prosody.loudness_curve[span] * (1 + 0.6 * tremor)
    prosody.loudness_curve[span] = loudness_curve * rng.uniform(0.75, 1.3) / max(np.sqrt((loudness_curve**2).mean()), 1e-6)
    voiced_frames = loudness_curve > 0
    log_pitch = log_pitch - log_pitch[voiced_frames].mean() + 0.8 * tremor
    prosody.pitch[span] = identity.pitch * rng.uniform(0.87, 1.15) * 2 ** (log_pitch / 12)
    prosody.tilt[span] = style.tilt + identity.tilt + rng.normal(0, 0.08)
    prosody.breathiness[span], prosody.roughness[span], prosody.nasal[span] = (
        max(style.breathiness, identity.breathiness),
        style.roughness,
        style.nasal,
    )


def _loudness_envelope(t: np.ndarray, attack: float) -> np.ndarray:
    """Loudness of a syllable at the fractions ``t`` of its duration."""
    return np.minimum(t / attack, 1) ** 0.7 * np.clip((1 - t) / (1 - attack), 0, 1) ** 0.6


def _pitch_contour(t: np.ndarray, kind: str) -> np.ndarray:
    """Relative pitch of a syllable at the fractions ``t`` of its duration, -0.5 to 0.5."""
    if kind == "arc":
        return np.sin(np.pi * t) - 0.5
    if kind == "dip":
        return 0.5 - np.sin(np.pi * t)
    return (t - 0.5) if kind == "rise" else (0.5 - t)


def synthesize(rng: np.random.Generator, identity: Identity, prosody: ProsodyTrack, samples: int) -> Float32[np.ndarray, " samples"]:
    """Samples of a prosody track at the identity's loudness, without room noise."""
    steps, positions = np.arange(len(prosody.pitch)) * _STEP, np.arange(samples)
    pitch = np.interp(positions, steps, prosody.pitch)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    harmonics = range(1, int(_MAX_HARMONIC_HZ / prosody.pitch.min()) + 1)
    levels = np.stack([_resonance(prosody, k * prosody.pitch) * k**-prosody.tilt * (k * prosody.pitch < _MAX_HARMONIC_HZ) for k in harmonics])
    levels *= np.sqrt(np.maximum(1 - prosody.breathiness, 0) * 2 / (levels**2).sum(axis=0))  # equal loudness in every style and vowel
    wave = np.zeros(samples)
    for k, level in zip(harmonics, levels, strict=True):
        if level.max() > 1e-3:
            wave += np.interp(positions, steps, level).astype(np.float32) * np.sin((k * phase % (2 * np.pi)).astype(np.float32))
    wave *= 1 + np.interp(positions, steps, prosody.roughness) * np.sin(phase / 2)
    wave += np.interp(positions, steps, np.sqrt(prosody.breathiness)) * _breath_noise(rng, samples)
    wave *= np.interp(positions, steps, prosody.loudness_curve)
    level = np.sqrt((wave[np.interp(positions, steps, prosody.loudness_curve) > 0.05] ** 2).mean()) if (prosody.loudness_curve > 0.05).any() else 1.0
    return (identity.loudness * wave / max(level, 1e-6)).astype(np.float32)


def _resonance(prosody: ProsodyTrack, frequency: np.ndarray) -> np.ndarray:
    """Gain of the vocal tract at one frequency (Hz) per value of the prosody track."""
    gain = np.full(len(frequency), 0.04)
    for formant, width, height in zip(prosody.formants, _BANDWIDTHS_HZ, (1.0, 0.7, 0.4), strict=True):
        gain = gain + height / (1 + ((frequency - formant) / width) ** 2)
    notch = 1 - 0.9 * prosody.nasal * np.exp(-(((frequency - 900) / 350) ** 2))
    return gain * notch + 0.8 * prosody.nasal * np.exp(-(((frequency - 280) / 90) ** 2))


def _breath_noise(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Breath noise with RMS 1, attenuated below 1 kHz."""
    noise = rng.standard_normal(samples)
    return 0.8 * (noise - 0.75 * np.concatenate([[0.0], noise[:-1]]))


def room_noise(rng: np.random.Generator, samples: int, loudness: float) -> Float32[np.ndarray, " samples"]:
    """Room noise: colored noise with power-line hum."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequency = np.fft.rfftfreq(samples, 1 / RATE)
    noise = np.fft.irfft(spectrum / np.maximum(frequency, 40) ** rng.uniform(0.2, 0.9), samples)
    noise = noise / np.sqrt((noise**2).mean()) + 0.3 * np.sin(2 * np.pi * rng.choice([50, 60, 100]) * np.arange(samples) / RATE)
    return (loudness * noise).astype(np.float32)
