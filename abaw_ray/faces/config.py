"""Settings of face extraction, without image libraries: a command that only reads settings starts quickly."""

from dataclasses import dataclass, field
from typing import Literal

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.settings import NO_RESULT
from abaw_ray.faces.identity.config import PeopleConfig

YUNET_HUB = "opencv/face_detection_yunet"
"""Repository of YuNet's weights on the model hub."""
SCALE_TOLERANCE = 0.02
"""Relative difference below which two scales of a crop count as the same. Ours."""


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """The face detector, its input size, and its score thresholds."""

    kind: Literal["yunet", "haar", "given"] = "yunet"
    """Face detector: ``yunet`` needs ``weights``, a file of 0.2 MB; ``haar`` needs no file, but finds frontal, larger faces only; ``given`` reads
    ``boxes``."""
    boxes: str = field(default="", metadata=NO_RESULT)
    """Your own table of boxes, CSV or Parquet, path or URI, with the columns video, frame (from 1), x0, y0, x1, y1 in pixels of the upright frame
    and, optionally, score and track. The address of the results depends on the URI, size and modification time of the table."""
    weights: str = field(default=YUNET_HUB, metadata=NO_RESULT)
    """Where YuNet's file ``face_detection_yunet_2023mar.onnx`` is: a path or URI; ``owner/name`` for a repository on the model hub, from which it is
    downloaded once; ``hub`` for the default one. Its SHA-256 is checked, so the results do not depend on the source."""
    width: int = 640
    """Pixels: a whole frame is shrunk to this width for detection, never enlarged. Default ours."""
    min_size: float = 0.03
    """Smallest detected face, longer side as a share of the shorter side of the frame: 32 pixels at 1080p. Boxes of such small faces are up to
    a fifth too small. Default ours."""
    min_score: float = 0.6
    """Minimum score for a new tracklet, 0 to 1; with Haar, 0.6 means nine overlapping windows. Default ours."""
    keep_score: float = 0.35
    """Minimum score for the continuation of a tracklet: the lower threshold of a hysteresis, so that a few low scores do not end it. Default ours."""

    def __post_init__(self) -> None:
        """Refuse settings with which no face could be detected."""
        if self.kind not in ("yunet", "haar", "given"):
            raise ConfigError(f"detector.kind='{self.kind}' is none of 'yunet', 'haar' and 'given'")
        if self.kind == "given" and not self.boxes:
            raise ConfigError("detector.kind is 'given' and detector.boxes is empty; give a CSV or Parquet table of boxes")
        if self.kind == "yunet" and not self.weights:
            raise ConfigError("detector.weights is empty; give a path, a URI, hub, or a repository on the model hub (owner/name)")
        if not 0 < self.keep_score <= self.min_score < 1:
            raise ConfigError(f"detector.keep_score={self.keep_score} must be above 0 and at most min_score={self.min_score}, that below 1")
        if not 0 < self.min_size < 1 or self.width < 32:
            raise ConfigError(f"detector.min_size={self.min_size} is a share between 0 and 1, detector.width={self.width} at least 32 pixels")


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """The search window around a tracked face."""

    scale: float = 2.2
    """Side of the window in units of the face's longer side; the margin allows for motion between two detections. Default ours."""
    size: int = 128
    """Pixels: the window is shrunk to this side, never enlarged. Default ours."""
    min_size_ratio: float = 0.5
    """Smallest face that is detected, in units of the previous size of the tracked face. Default ours."""

    def __post_init__(self) -> None:
        """Refuse windows that cannot contain a face."""
        if self.scale < 1.2 or self.size < 48 or not 0 < self.min_size_ratio < 1:
            raise ConfigError(
                f"window.scale={self.scale} must be at least 1.2, window.size={self.size} at least 48, "
                f"window.min_size_ratio={self.min_size_ratio} between 0 and 1"
            )


@dataclass(frozen=True, kw_only=True)
class CutConfig:
    """Thresholds above which two successive frames belong to different shots."""

    min_pixel_change: float = 0.06
    """Mean absolute change of luma per pixel, 0 to 1, above the moving average. Within a shot 0.003 to 0.02 was measured. Default ours."""
    min_histogram_change: float = 0.2
    """Fraction of the pixels that change their bin of the luma histogram, 0 to 1. Default ours."""
    min_correlation: float = 0.5
    """A frame whose correlation with the previous one is below this starts a shot, also where both are dark. Within a shot 0.67 to 1 was measured,
    at cuts of dark shots 0.15 to 0.34. Default ours."""

    def __post_init__(self) -> None:
        """Refuse values outside 0 to 1."""
        if not (0 < self.min_pixel_change <= 1 and 0 < self.min_histogram_change <= 1 and -1 <= self.min_correlation <= 1):
            raise ConfigError(
                f"cuts.min_pixel_change={self.min_pixel_change} and cuts.min_histogram_change={self.min_histogram_change} "
                f"must be above 0 and at most 1, cuts.min_correlation={self.min_correlation} between -1 and 1"
            )


@dataclass(frozen=True, kw_only=True)
class TrackConfig:
    """Detection intervals and matching within a shot. Intervals are seconds of presentation time, never frames. Defaults ours."""

    search_interval_s: float = 2.0
    """Seconds between two detections on the whole frame while all tracked people are found; shorter where the frames in between exceed the
    buffer. A new person is tracked back to the first frame; a person who appears and disappears between two searches is missed. A search is the most
    expensive step after decoding: ``tools/bench/video`` measures its cost."""
    lost_search_interval_s: float = 0.5
    """Seconds between two searches while no person is tracked, or a tracked person is not found. The first frame of every shot is always searched."""
    follow_interval_s: float = 0.2
    """Seconds between two detections in the window around a tracked face; boxes in between are interpolated."""
    static_interval_s: float = 0.4
    """Seconds between two detections in the window while all tracked faces are static."""
    static_iou: float = 0.8
    """A face is static if its boxes of two successive detections have at least this intersection over union. Where they have less, and the
    detections are further apart than ``follow_interval_s``, the detector also runs on the frame halfway between them."""
    max_gap_s: float = 0.5
    """Longest gap between two detections that is interpolated, in seconds; in a longer gap rows have ``seen = false``."""
    reid_timeout_s: float = 10.0
    """Seconds for which a person lost within a shot can be resumed at about the same place (``tracking/tracker.py`` has the conditions)."""
    min_hits: int = 3
    """Detections that a tracklet needs to be accepted; in a shot with fewer detections, all of them."""
    max_people: int = 4
    """People tracked at the same time; a larger face replaces the smallest."""
    min_iou: float = 0.1
    """Minimum intersection over union of two successive detections of one person; alternatively, their centers are within ``max_center_distance``."""
    max_center_distance: float = 0.7
    """Maximum distance of the centers of two successive detections of one person, in units of the face's longer side."""
    max_size_ratio: float = 2.0
    """Maximum ratio of the longer sides of two successive detections of one person."""

    def __post_init__(self) -> None:
        """Refuse intervals and limits that contradict each other."""
        longest = min(self.max_gap_s, self.search_interval_s)
        if not 0 < self.follow_interval_s <= self.static_interval_s <= longest or self.lost_search_interval_s <= 0:
            raise ConfigError(
                f"tracks.follow_interval_s={self.follow_interval_s} must be above 0 and at most static_interval_s={self.static_interval_s}, that "
                f"at most max_gap_s={self.max_gap_s} and search_interval_s={self.search_interval_s}; "
                f"lost_search_interval_s={self.lost_search_interval_s} above 0"
            )
        if self.min_hits < 1 or self.max_people < 1 or self.max_size_ratio < 1 or self.reid_timeout_s < 0:
            raise ConfigError(
                f"tracks.min_hits={self.min_hits}, max_people={self.max_people}, max_size_ratio={self.max_size_ratio} must be at least 1, "
                f"reid_timeout_s={self.reid_timeout_s} at least 0"
            )


@dataclass(frozen=True, kw_only=True)
class ChipConfig:
    """Extent and resolution of the stored face crops."""

    scales: tuple[float, ...] = (1.0, 1.3, 1.7)
    """Sides of the squares in units of the longer side of the face box, ascending. The paper uses three and does not publish them. Default ours."""
    size: int = 224
    """Pixels: side of the encoder's input. A chip is never larger than ``size`` x largest / smallest scale."""
    quality: int = 90
    """JPEG quality, 1 to 100. Default ours."""
    keep: Literal["jpeg", "none"] = "jpeg"
    """Stored face crops (chips): ``none`` stores boxes alone, for tables of boxes or for cropping later; feature extraction needs chips."""

    def __post_init__(self) -> None:
        """Refuse scales, sizes and qualities that give no chip."""
        if not self.scales or self.scales[0] <= 0 or any(b <= a for a, b in zip(self.scales, self.scales[1:], strict=False)):
            raise ConfigError(f"chips.scales={self.scales} must be above 0 and ascend")
        if self.size < 8 or not 1 <= self.quality <= 100:
            raise ConfigError(f"chips.size={self.size} must be at least 8 pixels, chips.quality={self.quality} between 1 and 100")

    @property
    def max_side(self) -> int:
        """Pixels: the largest side of a chip, even, because frames convert several times faster to even sizes."""
        return max(2 * int(self.size * self.scales[-1] / self.scales[0] / 2), 2)


@dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """Division of a video into segments. Defaults ours."""

    length_s: float = 120.0
    """Duration of a segment in seconds. People are tracked within segments and matched between segments by their boxes."""
    overlap_s: float = 1.0
    """Seconds by which a segment extends beyond its start and its end; there its people are matched with those of its neighbors."""

    def __post_init__(self) -> None:
        """Refuse segments that overlap more than one neighbor."""
        if self.overlap_s <= 0 or self.length_s < 4 * self.overlap_s:
            raise ConfigError(
                f"segments.overlap_s={self.overlap_s} must be above 0 and segments.length_s={self.length_s} at least four times as long"
            )

    def near_boundary(self, boundary: float, time: float) -> bool:
        """Return whether both segments that meet at ``boundary`` cover a frame of this time."""
        return abs(time - boundary) <= self.overlap_s


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
    """Identification of people, and matching of tracklets to people across shots."""
    chips: ChipConfig = field(default_factory=ChipConfig)
    """The crop that is stored for each face."""
    segments: SegmentConfig = field(default_factory=SegmentConfig)
    """Division of a video into segments."""
    crop_scale: float = 1.25
    """Side of an official crop of Aff-Wild2 over the longer side of its face box, where the detector finds no face in it. Default ours."""
    buffer_mb: int = 384
    """Megabytes of decoded frames that may be buffered until their boxes are known. Half of it holds two seconds of 1080p at 30 frames per
    second. Larger or faster video (4K, 60 frames per second) is searched more often and has shorter gaps interpolated. Default ours."""

    def __post_init__(self) -> None:
        """Refuse a buffer too small for two frames, and segment overlaps shorter than an interpolated gap."""
        if self.buffer_mb < 64:
            raise ConfigError(f"buffer_mb={self.buffer_mb} must be at least 64: two 8K frames need as much")
        if self.crop_scale <= 0:
            raise ConfigError(f"crop_scale={self.crop_scale} must be above 0")
        if self.segments.overlap_s < self.tracks.max_gap_s:
            raise ConfigError(f"segments.overlap_s={self.segments.overlap_s} must be at least tracks.max_gap_s={self.tracks.max_gap_s}")

    @property
    def uses_embeddings(self) -> bool:
        """Whether people are identified by embeddings: these need weights, and a detector that gives landmarks."""
        return self.detector.kind == "yunet" and self.people.weights not in ("", "none")
