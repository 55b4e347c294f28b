"""Settings of the videos that are written for people to watch, without media libraries: a command that only reads settings starts quickly."""

from dataclasses import dataclass

from abaw_ray.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class EncodingConfig:
    """Size and quality of the H.264 videos for browsers: proxies and overlays."""

    max_side: int = 1280
    """Pixels: longer videos are shrunk to this longer side, smaller ones keep their size. Default ours."""
    crf: float = 23.0
    """Quality of x264: 18 is visually lossless, 23 is its default, 35 shows blocks."""
    preset: str = "veryfast"
    """Speed of x264: at crf 23 its files are about as large as those of ``medium``, in a third of the time. Default ours."""

    def __post_init__(self) -> None:
        """Refuse sizes too small for a picture, and qualities that x264 does not have."""
        if self.max_side < 64:
            raise ConfigError(f"encoding.max_side={self.max_side} must be at least 64 pixels")
        if not 0 <= self.crf <= 51:
            raise ConfigError(f"encoding.crf={self.crf} must be between 0 and 51")
