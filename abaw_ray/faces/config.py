"""Settings of face extraction. The settings of each part are defined beside its code."""

from dataclasses import dataclass, field

from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.chips import ChipConfig
from abaw_ray.faces.detection.cuts import CutConfig
from abaw_ray.faces.detection.detect import DetectorConfig
from abaw_ray.faces.detection.frame_detector import WindowConfig
from abaw_ray.faces.tracking.people import PeopleConfig
from abaw_ray.faces.tracking.segments import SegmentConfig
from abaw_ray.faces.tracking.tracker import TrackConfig


@dataclass(frozen=True, kw_only=True)
class FacesConfig:
    """All settings that determine the FACE rows of a video."""

    detector: DetectorConfig = field(default_factory=DetectorConfig)
    """The face detector."""
    window: WindowConfig = field(default_factory=WindowConfig)
    """The search window around a tracked face."""
    cuts: CutConfig = field(default_factory=CutConfig)
    """Detection of cuts between shots."""
    tracks: TrackConfig = field(default_factory=TrackConfig)
    """Detection intervals, and matching of detections to tracklets within a shot."""
    people: PeopleConfig = field(default_factory=PeopleConfig)
    """Matching of tracklets to people across shots."""
    chips: ChipConfig = field(default_factory=ChipConfig)
    """The crop that is stored for each face."""
    segments: SegmentConfig = field(default_factory=SegmentConfig)
    """Division of a video into segments."""
    buffer_mb: int = 384
    """Megabytes of decoded frames that may be buffered until their boxes are known. Half of it holds two seconds of 1080p at 30 frames per
    second. Larger or faster video (4K, 60 frames per second) is searched more often and has shorter gaps interpolated. Default ours."""

    def __post_init__(self) -> None:
        """Refuse a buffer too small for two frames, and segment overlaps shorter than an interpolated gap."""
        if self.buffer_mb < 64:
            raise ConfigError(f"buffer_mb={self.buffer_mb} must be at least 64: two 8K frames need as much")
        if self.segments.overlap_s < self.tracks.max_gap_s:
            raise ConfigError(f"segments.overlap_s={self.segments.overlap_s} must be at least tracks.max_gap_s={self.tracks.max_gap_s}")
