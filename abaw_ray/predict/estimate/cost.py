"""Totals of the videos to analyze, the model and the wanted files -> CPU time and size of the output, from measured rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from abaw_ray.media.playback.header import VideoHeader
from abaw_ray.predict.config import AnalysisConfig, OutputConfig
from abaw_ray.predict.estimate.model import ModelCost
from abaw_ray.predict.estimate.rates import GpuRates, Rates

IMAGE_MEGAPIXELS = 2.0
"""Assumed size of a still image, which is not opened. Ours."""
_SAME_MODEL = 0.2
"""Relative difference of arithmetic up to which a rate of a GPU is used for another model. Ours."""


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums over all videos."""

    seconds: float = 0.0
    """Duration."""
    frames: float = 0.0
    megapixels: float = 0.0
    """Of all frames."""
    audio_s: float = 0.0
    """Duration of the videos that have sound."""
    scored: float = 0.0
    """Frames that are scored."""
    overlay_megapixels: float = 0.0
    """Of all frames at the size of overlays and proxies."""
    proxy_megapixels: float = 0.0
    """The same of the videos that need a proxy."""

    def __add__(self, other: "Totals") -> "Totals":
        """The sum."""
        return Totals(**{item.name: getattr(self, item.name) + getattr(other, item.name) for item in fields(Totals)})

    def times(self, factor: float) -> "Totals":
        """All sums times a factor."""
        return Totals(**{item.name: getattr(self, item.name) * factor for item in fields(Totals)})


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What an analysis takes."""

    find_s: float
    """CPU seconds of the first half: decoding, faces, sound."""
    score_s: Mapping[str, float] = field(default_factory=dict)
    """CPU seconds of the second half by part; those of networks are left out where they run on a GPU."""
    gpu_s: float | None = 0.0
    """Seconds of one GPU; None where its rate is not known."""
    written: Mapping[str, float] = field(default_factory=dict)
    """Bytes of the output by kind."""
    chips: float = 0.0
    """Bytes of the face crops of an average video, which are stored until it is scored."""


def totals(header: VideoHeader, analysis: AnalysisConfig, outputs: OutputConfig) -> Totals:
    """The sums of one video. Frames before ``start`` count as those in which faces are found, although they are only decoded.

    Args:
        header: What its header states.
        analysis: Which part of it is analyzed, and how many frames are scored.
        outputs: Wanted files.
    """
    decoded_s = min(header.duration_s, analysis.end or header.duration_s)
    part_s = max(decoded_s - analysis.start, 0.0)
    frames, analyzed = decoded_s * header.fps, part_s * header.fps
    megapixels, scale = header.width * header.height / 1e6, min(outputs.encoding.max_side / max(header.width, header.height, 1), 1.0)
    shown = megapixels * scale**2
    return Totals(
        seconds=header.duration_s,
        frames=frames,
        megapixels=frames * megapixels,
        audio_s=header.duration_s if header.has_audio else 0.0,
        scored=min(analyzed, part_s * analysis.fps + 1) if analysis.fps else analyzed,
        overlay_megapixels=analyzed * shown,
        proxy_megapixels=0.0 if header.plays else frames * shown,
    )


def image_totals(count: int) -> Totals:
    """The sums of still images."""
    return Totals(frames=count, scored=count, megapixels=count * IMAGE_MEGAPIXELS)


def extrapolated(sample: Sequence[Totals], sample_bytes: float, all_bytes: float) -> Totals:
    """The sums of all videos from those of a sample, in proportion to the size of the files; without a size, nothing."""
    return sum(sample, Totals()).times(all_bytes / sample_bytes if sample_bytes else 0.0)


def estimate(
    videos: Totals, count: int, model: ModelCost, outputs: OutputConfig, analysis: AnalysisConfig, rates: Rates, gpu: GpuRates | None = None
) -> Estimate:
    """The CPU time and the size of the output, with one person per frame.

    Args:
        videos: Sums over all videos.
        count: Number of videos.
        model: Arithmetic of the model.
        outputs: Wanted files.
        analysis: Which frames are scored.
        rates: Measured rates of a CPU core.
        gpu: Measured rates of a GPU, where one runs the networks.
    """
    spoken = videos.scored * model.speech_window_s if model.speech_window_s else videos.audio_s
    networks = {
        "encoder": videos.scored * model.images * (rates.image_ms + rates.gflop_ms * model.image_gflop) / 1e3,
        "speech": spoken * (rates.speech_ms + rates.speech_gflop_ms * model.speech_gflop) / 1e3 if model.speech_gflop else 0.0,
    }
    shown = (videos.overlay_megapixels if outputs.overlay else 0.0) + (videos.proxy_megapixels if outputs.report else 0.0)
    files = {"tables and pages": videos.scored * rates.row_ms / 1e3, "videos": shown * rates.encode_ms / 1e3}
    audio_ms = rates.sound_ms if model.speech_gflop else 0.0
    return Estimate(
        find_s=(videos.frames * rates.frame_ms + videos.megapixels * rates.megapixel_ms + videos.audio_s * audio_ms) / 1e3,
        score_s={name: seconds for name, seconds in (files if gpu else networks | files).items() if seconds},
        gpu_s=_gpu_seconds(videos, model, gpu) if gpu else 0.0,
        written=_written(videos, count, outputs, rates),
        chips=videos.frames / max(count, 1) * model.chip_side**2 * rates.chip_bytes,
    )


def _gpu_seconds(videos: Totals, model: ModelCost, gpu: GpuRates) -> float | None:
    if abs(model.images * model.image_gflop / gpu.frame_gflop - 1) > _SAME_MODEL:
        return None
    return videos.scored / gpu.frames_per_s


def _written(videos: Totals, count: int, outputs: OutputConfig, rates: Rates) -> dict[str, float]:
    rows = videos.scored
    table = rows * rates.parquet_bytes + count * rates.parquet_base_bytes
    kinds = {
        "CSV": rows * rates.csv_bytes * ("csv" in outputs.formats),
        "Parquet": table * ("parquet" in outputs.formats),
        "pages": (rows * rates.page_bytes + count * rates.page_base_bytes) * outputs.report,
        "overlays": videos.overlay_megapixels * rates.encoded_bytes * outputs.overlay,
        "proxies": videos.proxy_megapixels * rates.encoded_bytes * outputs.report,
        "cache": table,
    }
    return {name: size for name, size in kinds.items() if size}
