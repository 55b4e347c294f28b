"""All the settings that shape the faces of a video; each part's own stand beside its code."""

from dataclasses import dataclass, field

from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.chips import ChipConfig
from abaw_ray.faces.detection.cuts import CutConfig
from abaw_ray.faces.detection.detect import DetectorConfig
from abaw_ray.faces.detection.observe import WindowConfig
from abaw_ray.faces.tracking.people import PeopleConfig
from abaw_ray.faces.tracking.segments import StretchConfig
from abaw_ray.faces.tracking.tracks import TrackConfig


@dataclass(frozen=True, kw_only=True)
class FacesConfig:
    """Everything that shapes the rows of a video."""

    detector: DetectorConfig = field(default_factory=DetectorConfig)
    """What finds faces."""
    window: WindowConfig = field(default_factory=WindowConfig)
    """Where a known face is looked for."""
    cuts: CutConfig = field(default_factory=CutConfig)
    """When a shot ends."""
    tracks: TrackConfig = field(default_factory=TrackConfig)
    """When one looks, and who is the same person."""
    people: PeopleConfig = field(default_factory=PeopleConfig)
    """Who is the same person across cuts."""
    chips: ChipConfig = field(default_factory=ChipConfig)
    """What is kept of a face."""
    stretches: StretchConfig = field(default_factory=StretchConfig)
    """How a long video is divided."""
    buffer_mb: int = 384
    """Megabytes of decoded pictures that may wait for their boxes: half of it holds two seconds of 1080p at 30 frames a second. Where they
    would be more (4K, 60 frames a second), one looks more often and bridges shorter gaps. Ours, not from the paper."""

    def __post_init__(self) -> None:
        """Refuse a buffer that could not hold two pictures, and stretches that could not bridge a gap."""
        if self.buffer_mb < 64:
            raise ConfigError(f"buffer_mb={self.buffer_mb} must be at least 64: two 8K pictures need as much")
        if self.stretches.overlap < self.tracks.max_gap:
            raise ConfigError(f"stretches.overlap={self.stretches.overlap} s must be at least tracks.max_gap={self.tracks.max_gap} s")
