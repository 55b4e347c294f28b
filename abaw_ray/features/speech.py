"""Audio and the times of frames -> one vector per frame: Wav2Vec 2.0 on a short window around each frame (paper, Stage II).

Times are the frames' own presentation times in seconds, so variable frame rates need no special case. A window without any audio gives no
vector; a silent one gives a vector, because silence is information too. The model itself is in ``wav2vec``.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Float32, Int
from torch import Tensor
from torch.nn import functional

from abaw_ray.core.errors import ConfigError, StageError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.features.config import DeviceConfig, SpeechConfig
from abaw_ray.features.device import setup_device
from abaw_ray.features.speech_weights import check_layer, weights_source
from abaw_ray.features.wav2vec import Wav2Vec
from abaw_ray.media.audio import RATE, Audio, windows

_EPSILON = 1e-7
"""Added to a variance before the square root, as in the published models' preprocessor."""
_BLOCK = 1 << 20
"""Samples whose squares are in memory at the same time."""
_WINDOWS_PER_CHUNK = 8
"""Windows in a batch for each chunk of ``speech_batch_size``."""


class SpeechFeatures:
    """The speech model, loaded once per worker."""

    def __init__(self, config: SpeechConfig, device: DeviceConfig | None = None, storage: StorageConfig | None = None) -> None:
        """Load the model.

        Args:
            config: The model, and how its states are pooled.
            device: Device and batch size.
            storage: Settings of object stores, for weights at a URI.

        Raises:
            DataError: the weights are no complete Wav2Vec 2.0 model.
            ConfigError: the weights do not exist, the model has no such layer, or the window is shorter than the receptive field of a state.
        """
        self.config, self.device_config = config, device or DeviceConfig()
        self.model = Wav2Vec(weights_source(config, storage), config.random, setup_device(self.device_config))
        check_layer(config.layer, self.model.layers)
        field = self.model.receptive_field
        if config.mode == "windows" and round(config.window_s * RATE) < field:
            raise ConfigError(f"speech.window_s={config.window_s} is shorter than one state of the model, {field / RATE:.3f} s")
        self.dim: int = self.model.dim * (2 if config.pooling == "mean_std" else 1)
        """Length of a vector."""

    def __call__(self, audio: Audio | None, times: Float[np.ndarray, " n"]) -> tuple[Float16[np.ndarray, "n dim"], Bool[np.ndarray, " n"]]:
        """Speech vectors of frames.

        Args:
            audio: The video's audio; None where it has none.
            times: Presentation times in seconds on the same clock, in any order, at any rate.

        Returns:
            The vectors, and whether each frame has one (``heard``); rows without a vector are zeros without meaning.

        Raises:
            StageError: the model returns numbers that are not finite, or too large for half precision.
        """
        heard, out = has_audio(audio, times, self.config.window_s), np.zeros((len(times), self.dim), np.float16)
        rows = np.flatnonzero(heard)
        if audio is None or not len(rows):
            return out, heard
        batches = self._from_windows(audio, times, rows) if self.config.mode == "windows" else self._from_chunks(audio, times, rows)
        for batch, vectors in batches:
            out[batch] = vectors
        if not np.isfinite(out).all():
            raise StageError(f"features: {self.config.weights} returns numbers that are not finite in half precision; are its files complete?")
        return out, heard

    def _from_chunks(self, audio: Audio, times: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Mode ``context``: each frame from the chunk whose core, without the margins, holds its time; at both ends of the audio the chunk is
        shifted inwards.
        """
        config, batch_size, moments = self.config, self.device_config.speech_batch_size, self._moments(audio)
        total = max(len(audio.samples), self.model.receptive_field)
        core, length = round((config.chunk_s - 2 * config.margin_s) * RATE), min(round(config.chunk_s * RATE), total)
        position = (times[rows] - audio.start) * RATE
        chunk = np.clip(position, 0, len(audio.samples) - 1).astype(np.int64) // core
        numbers = np.unique(chunk)
        first = np.clip(numbers * core - round(config.margin_s * RATE), 0, total - length)
        for start in range(0, len(numbers), batch_size):
            batch = slice(start, start + batch_size)
            samples = np.stack([_normalized_chunk(audio, at, length, *moments) for at in first[batch]])
            states = self.model.states(samples, config.layer)
            for number, at, chunk_states in zip(numbers[batch], first[batch], states, strict=True):
                inside = np.flatnonzero(chunk == number)
                centers = at + self.model.centers(length)
                yield rows[inside], self._pool_near(chunk_states, centers, _inside_audio(audio, centers), position[inside])

    def _moments(self, audio: Audio) -> tuple[np.float64, np.float64]:
        """Mean and variance of the whole audio, with which it is normalized as one utterance; block by block: a video may last for hours."""
        if not self.model.normalize:
            return np.float64(0.0), np.float64(1.0 - _EPSILON)
        blocks = [audio.samples[at : min(at + _BLOCK, last)] for first, last in audio.audible_spans() for at in range(first, last, _BLOCK)]
        count = sum(map(len, blocks))
        mean = np.sum([block.sum(dtype=np.float64) for block in blocks]) / count
        return mean, np.sum([np.square(block - mean).sum() for block in blocks]) / count

    def _pool_near(
        self,
        states: Float[Tensor, "states dim"],
        centers: Float[np.ndarray, " states"],
        valid: Bool[np.ndarray, " states"],
        positions: Float[np.ndarray, " n"],
    ) -> Float16[np.ndarray, "n pooled"]:
        """Pool, for each position, the states within half a window of it.

        Args:
            states: States of one chunk, on their device; only the pooled ones are copied to the host.
            centers: Sample position of each state's center.
            valid: Whether the audio covers the center; other states are ignored, unless none is valid.
            positions: Sample positions of the frames, as fractions; a frame without a state in its window uses the nearest one.
        """
        if valid.any():
            states, centers = states[torch.from_numpy(valid).to(states.device)], centers[valid]
        half = self.config.window_s * RATE / 2
        low, high = np.searchsorted(centers, positions - half, side="left"), np.searchsorted(centers, positions + half, side="right")
        empty = low == high
        low[empty] = np.abs(centers[:, None] - positions[empty]).argmin(axis=0)
        high[empty] = low[empty] + 1
        last, first = (torch.from_numpy(bound).to(states.device) for bound in (high, low))
        sums, squares = (functional.pad(x.cumsum(dim=0), (0, 0, 1, 0)) for x in (states.double(), states.double() ** 2))
        count = (last - first)[:, None]
        mean = (sums[last] - sums[first]) / count
        return self._pooled(mean, (squares[last] - squares[first]) / count - mean**2)

    def _from_windows(self, audio: Audio, times: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Mode ``windows``: each frame from its own window, normalized as one utterance; states in gaps of the audio are ignored."""
        indicator = Audio(np.zeros(len(audio.samples), np.float32), audio.start, audio.spans)
        for first, last in audio.audible_spans():
            indicator.samples[first:last] = 1
        batch_size = _WINDOWS_PER_CHUNK * self.device_config.speech_batch_size
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            samples, _ = windows(audio, times[batch], width=self.config.window_s)
            mask, _ = windows(indicator, times[batch], width=self.config.window_s)
            states = self.model.states(self._normalized_windows(samples, mask), self.config.layer).double()
            weight = mask[:, np.round(self.model.centers(samples.shape[1])).astype(np.int64), None].astype(np.float64)
            weight[~np.any(weight, axis=(1, 2))] = 1
            weight /= weight.sum(axis=1, keepdims=True)
            weights = torch.from_numpy(weight).to(states.device)
            mean = (weights * states).sum(dim=1)
            yield batch, self._pooled(mean, (weights * states**2).sum(dim=1) - mean**2)

    def _normalized_windows(
        self, samples: Float32[np.ndarray, "n samples"], mask: Float32[np.ndarray, "n samples"]
    ) -> Float32[np.ndarray, "n samples"]:
        if not self.model.normalize:
            return samples
        count = mask.sum(axis=1, keepdims=True)
        mean = (samples * mask).sum(axis=1, keepdims=True) / count
        var = ((samples - mean) ** 2 * mask).sum(axis=1, keepdims=True) / count
        return (samples - mean) / np.sqrt(var + _EPSILON) * mask

    def _pooled(self, mean: Float[Tensor, "n dim"], var: Float[Tensor, "n dim"]) -> Float16[np.ndarray, "n pooled"]:
        pooled = torch.cat([mean, var.clamp(min=0).sqrt()], dim=1) if self.config.pooling == "mean_std" else mean
        return pooled.half().cpu().numpy()


def has_audio(audio: Audio | None, times: Float[np.ndarray, " n"], window_s: float) -> Bool[np.ndarray, " n"]:
    """Whether the window around each time has any audio: the rule of ``media.audio.windows``, without cutting windows."""
    heard = np.zeros(len(times), bool)
    if audio is None:
        return heard
    count = round(window_s * RATE)
    start = np.round((times - audio.start) * RATE).astype(np.int64) - count // 2
    for first, last in audio.audible_spans():
        heard |= (start < last) & (start + count > first) & (first < last)
    return heard


def _normalized_chunk(audio: Audio, at: int, length: int, mean: np.float64, var: np.float64) -> Float32[np.ndarray, " samples"]:
    """A chunk of the normalized audio; zeros in gaps and after the end."""
    out = np.zeros(length, np.float32)
    for first, last in audio.audible_spans():
        low, high = max(first, at), min(last, at + length)
        if low < high:
            out[low - at : high - at] = (audio.samples[low:high] - mean) / np.sqrt(var + _EPSILON)
    return out


def _inside_audio(audio: Audio, positions: Float[np.ndarray, " states"]) -> Bool[np.ndarray, " states"]:
    """Whether the audio covers these sample positions."""
    spans: Int[np.ndarray, "spans 2"] = audio.audible_spans()
    inside = (positions[:, None] >= spans[:, 0]) & (positions[:, None] < spans[:, 1])
    return np.asarray(inside.any(axis=1))
