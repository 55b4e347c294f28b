"""Settings of the pages of analyzed videos. All defaults ours."""

from dataclasses import dataclass

from abaw_ray.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class VideoPageConfig:
    """Limits on the content of the page of a video; its tables are complete."""

    max_episodes: int = 200
    """Maximum number of listed episodes per person, the longest ones."""
    max_embedded_mb: float = 20.0
    """Maximum size of a video inside the page, in MB (10^6 bytes); base64 adds a third."""

    def __post_init__(self) -> None:
        """Reject limits that list nothing."""
        if self.max_episodes < 1 or self.max_embedded_mb <= 0:
            raise ConfigError(f"max_episodes={self.max_episodes} must be at least 1, max_embedded_mb={self.max_embedded_mb} above 0")


@dataclass(frozen=True, kw_only=True)
class IndexConfig:
    """Limits on the page that lists many videos."""

    rows_per_page: int = 100
    """Rows shown at a time; search and sorting cover all rows."""
    max_thumbnail_mb: float = 20.0
    """Maximum size of all embedded thumbnails together, in MB; further rows have none, and the page says so. Linked thumbnails are not limited."""

    def __post_init__(self) -> None:
        """Reject limits that show nothing."""
        if self.rows_per_page < 1 or self.max_thumbnail_mb < 0:
            raise ConfigError(f"rows_per_page={self.rows_per_page} must be at least 1, max_thumbnail_mb={self.max_thumbnail_mb} at least 0")
