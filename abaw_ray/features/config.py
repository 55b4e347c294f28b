"""Settings of feature extraction, without tensor libraries: a command that only reads settings starts quickly.

Settings that depend on the models or the chips are checked when the models are loaded.
"""

from dataclasses import dataclass
from typing import Literal

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.settings import AutoOnOff

REVISION = 3
"""Raised when the same settings give other features."""
WAV2VEC_HUB = "facebook/wav2vec2-base-960h"
"""Repository of the default speech model on the model hub."""


Layer = int | tuple[int, ...] | Literal["mean"]
"""Hidden states of the speech model: one layer, the mean of several, or that of all."""


@dataclass(frozen=True, kw_only=True)
class VisualConfig:
    """The visual feature vector."""

    scales: tuple[float, ...] = ()
    """Sides of the square crops over the side of the face box, at most the chips' largest; empty uses the chips' own scales. Ours, not from
    the paper."""

    logits: bool = False
    """Keep the logits of Stage I's head beside the vector, averaged over the scales, in a column of its own; Stage II does not use them."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if any(scale <= 0 for scale in self.scales):
            raise ConfigError(f"visual.scales={self.scales} must be above 0")


@dataclass(frozen=True, kw_only=True)
class RandomWav2VecConfig:
    """A small Wav2Vec 2.0 model with random weights, for use without a download. All values are ours, tuned on synthetic speech.

    The filters of the first convolution are band-pass filters with random center frequencies; the other convolutions mix them with random
    weights that are smooth in time, so the states separate loudness, pitch and timbre. Nothing is learned, so they do not separate words.
    Field names are those of ``transformers.Wav2Vec2Config``.
    """

    seed: int = 0
    """Seed of the weights."""
    conv_dim: int = 128
    """Channels of every convolution; in the first one, each channel has one center frequency."""
    hidden_size: int = 96
    """Width of the Transformer and of a state."""
    num_hidden_layers: int = 2
    """Blocks of the Transformer."""
    conv_kernel: tuple[int, ...] = (400, 10, 8)
    """Kernel size of each convolution, in samples or in steps of the previous one."""
    conv_stride: tuple[int, ...] = (16, 5, 4)
    """Stride of each convolution; their product is 320 samples, one state per 20 ms, as in the published models."""
    feat_extract_norm: Literal["group", "layer"] = "layer"
    """``layer`` normalizes every state separately; ``group``, as in the published base model, every channel over the whole input."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        sizes = (*self.conv_kernel, *self.conv_stride, self.conv_dim, self.num_hidden_layers)
        if len(self.conv_kernel) != len(self.conv_stride) or min(sizes) < 1:
            raise ConfigError(
                f"speech.random: conv_kernel={self.conv_kernel} and conv_stride={self.conv_stride} must be equally long, and all sizes at least 1"
            )
        if self.hidden_size % 16 or self.hidden_size < 16:
            raise ConfigError(f"speech.random.hidden_size={self.hidden_size} must be a multiple of 16")


@dataclass(frozen=True, kw_only=True)
class SpeechConfig:
    """The speech feature vector. The paper specifies Wav2Vec 2.0 on a short window; all else is ours."""

    weights: str = WAV2VEC_HUB
    """Speech model: path or URI of a folder as transformers saves it; ``owner/name`` for a repository on the model hub; ``hub`` for the default
    one; ``random`` for a small model."""
    window_s: float = 1.0
    """Width in seconds of the window of audio around a frame's time."""
    mode: Literal["windows", "context"] = "context"
    """``windows``: each window passes through the model separately, as in the paper; 20 to 30 times slower at 30 frames per second.
    ``context``: long chunks pass through the model once, and the states inside the window are pooled. The two give different features and must
    not be mixed."""
    layer: Layer = "mean"
    """Hidden states to use: 0 is the input of the first block, -1 the output of the last one; several numbers give the mean of these layers,
    ``mean`` that of all. The default is ours."""
    pooling: Literal["mean", "mean_std"] = "mean"
    """Pooling over the window: the mean of the states, or their mean and standard deviation, which is twice as wide."""
    chunk_s: float = 20.0
    """Length in seconds of a chunk in mode ``context``."""
    margin_s: float = 2.0
    """Seconds at both ends of a chunk that only provide context."""
    random: RandomWav2VecConfig = RandomWav2VecConfig()
    """Sizes of the model that ``random`` selects."""

    def __post_init__(self) -> None:
        """Refuse windows and chunks that contradict each other."""
        if not self.weights:
            raise ConfigError("speech.weights is empty; give the path or URI of a folder, hub, a repository on the model hub (owner/name), or random")
        if isinstance(self.layer, tuple) and len(set(self.layer)) < max(len(self.layer), 1):
            raise ConfigError(f"speech.layer={self.layer}: give at least one layer, and none twice; or mean")
        if self.window_s < 0.05:
            raise ConfigError(f"speech.window_s={self.window_s} is too short; the receptive field of a state is 0.025 s, give at least 0.05")
        if 2 * self.margin_s < self.window_s or self.chunk_s <= 2 * self.margin_s:
            raise ConfigError(
                f"speech.chunk_s={self.chunk_s} must be longer than two margins, "
                f"speech.margin_s={self.margin_s} at least half of window_s={self.window_s}"
            )


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig:
    """All settings that determine features, other than the encoder and the chips."""

    visual: VisualConfig = VisualConfig()
    """The visual vector of a chip."""
    speech: SpeechConfig = SpeechConfig()
    """The speech vector of a window of audio."""


@dataclass(frozen=True, kw_only=True)
class DeviceConfig:
    """Device and batch sizes of one worker; not part of a stage's settings, because they do not change the features. All values are ours."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto`` is the GPU assigned to the worker, else the CPU."""
    threads: int = 1
    """Threads of one operation on a CPU; 1, because more workers increase the throughput more than more threads do."""
    visual_batch_size: int = 96
    """Crops per forward pass of the encoder; bounds the memory."""
    speech_batch_size: int = 2
    """Chunks per forward pass of Wav2Vec 2.0 (in mode ``windows`` eight times as many windows); bounds the memory, about 0.4 GiB for each
    chunk of 20 s with the published base model."""
    decode_workers: int = 0
    """Threads that decode and crop chips ahead of the encoder; 0 decodes between forward passes, which suits a CPU without idle cores."""

    compile: AutoOnOff = "off"
    """Whether the encoder's blocks are compiled; the job takes it from ``compute.compile``. An analysis does not compile: a few videos take less time
    than the compiler."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name in ("threads", "visual_batch_size", "speech_batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"device.{name}={getattr(self, name)} must be at least 1")
        if self.decode_workers < 0 or self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"device.decode_workers={self.decode_workers} must not be negative, device.device={self.device} be auto, cpu or cuda")


@dataclass(frozen=True, kw_only=True)
class BaselineConfig:
    """Inputs of the two baselines; all values are ours."""

    img_size: int = 24
    """Side in pixels of the square to which a chip is reduced, in gray."""
    window_s: float = 1.0
    """Width in seconds of the window of audio around a frame's time."""
    interval_s: float = 0.5
    """Seconds between the frames that are used: neighboring frames look alike."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.img_size < 2 or self.window_s <= 0 or self.interval_s <= 0:
            raise ConfigError(
                f"baselines.img_size={self.img_size} must be 2 or more, window_s={self.window_s} and interval_s={self.interval_s} above 0"
            )
