"""Sound and the times of frames -> one vector a frame: Wav2Vec 2.0 on a short window around each frame (paper, Stage II).

Times are the frames' own, in seconds, so a variable rate needs no thought. A window without any sound gives no vector; silence gives one,
for silence too says something. The model itself stands in ``wav2vec``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float16, Float32

from abaw_ray.core.errors import ConfigError, StageError
from abaw_ray.features.device import DeviceConfig, use
from abaw_ray.features.wav2vec import RandomSpeech, Wav2Vec
from abaw_ray.media.audio import RATE, Audio, windows

_TINY = 1e-7
"""Added to a variance before its root, as the published models' processor does."""


@dataclass(frozen=True, kw_only=True)
class SpeechConfig:
    """Which sound becomes a frame's vector, and how. The paper says Wav2Vec 2.0 on a short window; everything else is ours."""

    weights: str = "facebook/wav2vec2-base-960h"
    """A folder (local, or a URI that pyarrow understands) as transformers saves it, a name of the model hub, or ``random``."""
    window: float = 1.0
    """Seconds of sound around a frame's time, whole width."""
    mode: Literal["windows", "context"] = "context"
    """``windows``: each window goes through the model for itself, the paper's words, about 30 times dearer at 30 frames a second.
    ``context``: long stretches go through it once, and the states inside the window are taken. Both are sound, and not interchangeable."""
    layer: int | Literal["mean"] = "mean"
    """Which hidden states: 0 what goes into the first block, -1 those of the last one, ``mean`` the mean of all."""
    pooling: Literal["mean", "mean_std"] = "mean"
    """What is taken over the window: the mean of the states, or their mean and standard deviation, twice as wide."""
    chunk: float = 20.0
    """Seconds of one stretch in mode ``context``."""
    margin: float = 2.0
    """Seconds at both ends of a stretch that only give context."""
    random: RandomSpeech = RandomSpeech()
    """Sizes of the model behind ``random``."""

    def __post_init__(self) -> None:
        """Refuse windows and stretches that contradict each other."""
        if not self.weights:
            raise ConfigError("speech.weights is empty; give the folder of a Wav2Vec 2.0 model, a name of the model hub, or random")
        if self.window < 0.05:
            raise ConfigError(f"speech.window={self.window} s is too short; a state of the model sees 0.025 s, give at least 0.05")
        if 2 * self.margin < self.window or self.chunk <= 2 * self.margin:
            raise ConfigError(
                f"speech.chunk={self.chunk} s must be longer than two margins, speech.margin={self.margin} s at least half of window={self.window} s"
            )


class SpeechFeatures:
    """The model, built once a worker."""

    def __init__(self, config: SpeechConfig, device: DeviceConfig | None = None) -> None:
        """Load the model.

        Raises:
            DataError: the weights are not there or are no Wav2Vec 2.0 model.
            ConfigError: the model has no such layer, or its states see more than the window.
        """
        self.config, self.how = config, device or DeviceConfig()
        self.wav = Wav2Vec(config.weights, config.random, use(self.how))
        if config.layer != "mean" and not -self.wav.layers - 1 <= config.layer <= self.wav.layers:
            raise ConfigError(f"speech.layer={config.layer}: the model has layers 0 to {self.wav.layers}, or mean")
        if config.mode == "windows" and round(config.window * RATE) < self.wav.field:
            raise ConfigError(f"speech.window={config.window} s is shorter than one state of the model, {self.wav.field / RATE:.3f} s")
        self.dim: int = self.wav.dim * (2 if config.pooling == "mean_std" else 1)
        """Numbers of a vector."""

    def __call__(self, audio: Audio | None, times: Float[np.ndarray, " n"]) -> tuple[Float16[np.ndarray, "n dim"], Bool[np.ndarray, " n"]]:
        """Vectors of frames.

        Args:
            audio: The video's sound; None where it has none.
            times: Presentation times in seconds on the same clock, in any order, at any rate.

        Returns:
            The vectors, and whether there is one (``heard``); rows without hold zeros that stand for nothing.

        Raises:
            StageError: the model gives numbers that are not finite, or too large for half precision.
        """
        heard = hears(audio, times, self.config.window)
        out, rows = np.zeros((len(times), self.dim), np.float16), np.flatnonzero(heard)
        made = self._windows if self.config.mode == "windows" else self._context
        with np.errstate(over="ignore"):  # an overflow is found below
            for some, vectors in made(audio, times, rows) if len(rows) else ():
                out[some] = vectors
        if not np.isfinite(out).all():
            raise StageError(f"features: {self.config.weights} gives numbers that are not finite in half precision; is it whole?")
        return out, heard

    def _context(self, audio: Audio, times: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Each frame from the stretch whose middle part holds its time; at the ends of the sound the stretch reaches further inwards."""
        config, samples = self.config, self._utterance(audio)
        core, length = round((config.chunk - 2 * config.margin) * RATE), min(round(config.chunk * RATE), len(samples))
        centre = (times[rows] - audio.start) * RATE
        stretch = np.clip(centre, 0, len(audio.samples) - 1).astype(np.int64) // core
        numbers = np.unique(stretch)
        first = np.clip(numbers * core - round(config.margin * RATE), 0, len(samples) - length)
        for start in range(0, len(numbers), self.how.sounds):
            some = slice(start, start + self.how.sounds)
            states = self.wav.states(np.stack([samples[at : at + length] for at in first[some]]), config.layer).cpu().numpy()
            for number, at, state in zip(numbers[some], first[some], states, strict=True):
                inside = np.flatnonzero(stretch == number)
                where = at + self.wav.centres(length)
                yield rows[inside], self._near(state, where, _sounding(audio, where), centre[inside])

    def _utterance(self, audio: Audio) -> Float32[np.ndarray, " samples"]:
        """The whole sound, normalised as one utterance; zeros where there is none, and behind a sound too short for a state."""
        spans = audio.audible_spans()
        sound = np.concatenate([audio.samples[first:last] for first, last in spans])
        mean, var = (sound.mean(dtype=np.float64), sound.var(dtype=np.float64)) if self.wav.normalise else (0.0, 1.0 - _TINY)
        out = np.zeros(max(len(audio.samples), self.wav.field), np.float32)
        for first, last in spans:
            out[first:last] = (audio.samples[first:last] - mean) / np.sqrt(var + _TINY)
        return out

    def _near(self, states: np.ndarray, where: np.ndarray, good: np.ndarray, centre: np.ndarray) -> Float[np.ndarray, "n dim"]:
        """Pool, for each centre, the states within half a window of it.

        Args:
            states: Of one stretch, one row a state.
            where: Sample number of each state.
            good: Whether there is sound; other states do not count, unless none has any.
            centre: Sample numbers of the frames, as fractions; one without a state in its window takes the nearest.
        """
        if good.any():
            states, where = states[good], where[good]
        half = self.config.window * RATE / 2
        low, high = np.searchsorted(where, centre - half, side="left"), np.searchsorted(where, centre + half, side="right")
        nearest = np.abs(where[:, None] - centre[low == high]).argmin(axis=0)
        low[low == high], high[low == high] = nearest, nearest + 1
        sums, squares = (np.pad(np.cumsum(x, axis=0, dtype=np.float64), ((1, 0), (0, 0))) for x in (states, states.astype(np.float64) ** 2))
        count = (high - low)[:, None]
        mean = (sums[high] - sums[low]) / count
        return self._pooled(mean, (squares[high] - squares[low]) / count - mean**2)

    def _windows(self, audio: Audio, times: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Each frame from its own window, normalised as one utterance; states where the window holds no sound do not count."""
        there = Audio(np.zeros(len(audio.samples), np.float32), audio.start, audio.spans)
        for first, last in audio.audible_spans():
            there.samples[first:last] = 1
        step = 8 * self.how.sounds
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            sound, _ = windows(audio, times[some], width=self.config.window)
            mask, _ = windows(there, times[some], width=self.config.window)
            states = self.wav.states(self._each(sound, mask), self.config.layer).cpu().numpy().astype(np.float64)
            weight = mask[:, np.round(self.wav.centres(sound.shape[1])).astype(np.int64), None].astype(np.float64)
            weight[~weight.any(axis=1)[:, 0]] = 1
            weight /= weight.sum(axis=1, keepdims=True)
            mean = (weight * states).sum(axis=1)
            yield some, self._pooled(mean, (weight * states**2).sum(axis=1) - mean**2)

    def _each(self, sound: Float32[np.ndarray, "n samples"], mask: Float32[np.ndarray, "n samples"]) -> Float32[np.ndarray, "n samples"]:
        if not self.wav.normalise:
            return sound
        count = mask.sum(axis=1, keepdims=True)
        mean = (sound * mask).sum(axis=1, keepdims=True) / count
        var = ((sound - mean) ** 2 * mask).sum(axis=1, keepdims=True) / count
        return (sound - mean) / np.sqrt(var + _TINY) * mask

    def _pooled(self, mean: Float[np.ndarray, "n dim"], var: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n wide"]:
        return np.concatenate([mean, np.sqrt(var.clip(min=0))], axis=1) if self.config.pooling == "mean_std" else mean


def hears(audio: Audio | None, times: Float[np.ndarray, " n"], window: float) -> Bool[np.ndarray, " n"]:
    """Whether there is any sound in the window around each time, by the same rule as ``media.audio.windows`` but without cutting windows."""
    heard = np.zeros(len(times), bool)
    if audio is None:
        return heard
    count = round(window * RATE)
    first = np.round((times - audio.start) * RATE).astype(np.int64) - count // 2
    for begin, end in audio.audible_spans():
        heard |= (first < end) & (first + count > begin) & (begin < end)
    return heard


def _sounding(audio: Audio, where: Float[np.ndarray, " states"]) -> Bool[np.ndarray, " states"]:
    """Whether there is sound at these sample numbers."""
    spans = audio.audible_spans()
    return ((where[:, None] >= spans[:, 0]) & (where[:, None] < spans[:, 1])).any(axis=1)
