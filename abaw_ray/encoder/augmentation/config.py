"""Settings of the augmentation of training images, without tensor libraries. The paper names only PadAug; all values are ours."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from abaw_ray.core.errors import ConfigError

PaddingMode = Literal["reflection", "black"]
_SCALED = ("motion_blur", "defocus", "low_resolution", "noise", "jpeg", "erasing", "saturation")
"""Fields of ``DegradeConfig`` from 0 to 1, which ``AugmentConfig.strength`` multiplies."""


@dataclass(frozen=True, kw_only=True)
class PadAugConfig:
    """PadAug: black where a large crop around a face leaves the picture. The places (left, right, top, bottom, corners) are the paper's."""

    probability: float = 0.5
    """Fraction of training views for which the picture ends within the largest crop (``augment.scales``); smaller crops then have less black, or
    none."""
    inside: tuple[float, ...] = (0.6, 0.85, 0.93, 0.97, 1.0)
    """Fraction of the largest crop that lies inside the picture, for such views: equally spaced quantiles, from the minimum to the maximum.
    ``python -m tools.data.padding`` prints those of prepared videos. The default is about that of three real clips."""
    opposite: float = 0.1
    """Fraction of such views in which two opposite sides are black, as in a close-up; else one side or one corner, all eight equally often.
    ``python -m tools.data.padding`` prints that of prepared videos: 0.06 in a clip of a stage, 0.4 and 0.9 in two of a person near the camera."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not 0 <= self.probability <= 1 or not 0 <= self.opposite <= 1:
            raise ConfigError(f"padaug.probability={self.probability} and padaug.opposite={self.opposite} must lie between 0 and 1")
        if len(self.inside) < 2 or not self.inside[0] >= 0.25 or self.inside[-1] > 1 or any(a > b for a, b in pairwise(self.inside)):
            raise ConfigError(f"padaug.inside={self.inside} must be two or more ascending fractions from 0.25 to 1")


@dataclass(frozen=True, kw_only=True)
class DegradeConfig:
    """What makes faces in videos hard to read. The paper's abstract names motion blur; all probabilities and strengths are ours."""

    motion_blur: float = 0.1
    """Probability of motion blur."""
    max_motion: float = 0.06
    """Longest motion over the side of the view: 13 of 224 pixels."""
    defocus: float = 0.1
    """Probability of a Gaussian blur; a view has at most one of the two blurs."""
    max_defocus: float = 0.015
    """Largest standard deviation over the side of the view: 3.4 of 224 pixels."""
    low_resolution: float = 0.2
    """Probability that the view is reduced and enlarged again, as a small face is."""
    min_resolution: float = 0.2
    """Smallest side of the reduced view over the side of the view: 45 of 224 pixels."""
    noise: float = 0.1
    """Probability of sensor noise."""
    max_noise: float = 12.0
    """Largest standard deviation of the noise, of pixel values 0 to 255."""
    jpeg: float = 0.2
    """Probability of JPEG compression."""
    jpeg_quality: tuple[int, int] = (25, 85)
    """Lowest and highest quality of it."""
    saturation: float = 0.2
    """The distance of colors from gray is multiplied by a factor between 1 - saturation and 1 + saturation."""
    erasing: float = 0.1
    """Probability that a random rectangle is filled with a random color (Zhong et al., Random erasing data augmentation, AAAI 2020)."""
    erased_area: tuple[float, float] = (0.02, 0.1)
    """Smallest and largest area of that rectangle over the area of the view."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name in _SCALED:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"degrade.{name}={getattr(self, name)} must lie between 0 and 1")
        if self.motion_blur + self.defocus > 1:
            raise ConfigError(f"degrade.motion_blur={self.motion_blur} and degrade.defocus={self.defocus} must not exceed 1 together")
        if not 0 < self.min_resolution <= 1 or self.max_noise < 0 or not 0 <= self.max_motion <= 0.5 or not 0 <= self.max_defocus <= 0.2:
            raise ConfigError(
                f"degrade: min_resolution={self.min_resolution} must be above 0 and at most 1, max_noise={self.max_noise} at least 0, "
                f"max_motion={self.max_motion} at most 0.5, max_defocus={self.max_defocus} at most 0.2"
            )
        if not 1 <= self.jpeg_quality[0] <= self.jpeg_quality[1] <= 100 or not 0 < self.erased_area[0] <= self.erased_area[1] <= 0.5:
            raise ConfigError(
                f"degrade: jpeg_quality={self.jpeg_quality} must be two ascending numbers from 1 to 100, erased_area={self.erased_area} two "
                "ascending fractions up to 0.5"
            )


NO_DEGRADATION = DegradeConfig(motion_blur=0.0, defocus=0.0, low_resolution=0.0, noise=0.0, jpeg=0.0, saturation=0.0, erasing=0.0)
"""Leaves views as they are."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Random augmentation of training images."""

    scales: tuple[float, float] = (1.0, 1.7)
    """Smallest and largest side of the random crop over the side of the face box: the range of the chips' scales, so that training covers what
    feature extraction uses. A crop does not exceed the stored image, unless that is smaller than the smallest scale; ``padding_mode`` then fills
    the rest."""
    max_shift: float = 0.05
    """Largest shift of the crop's center as a fraction of its side; it simulates the inaccuracy of detectors."""
    max_rotation_deg: float = 10.0
    """Largest rotation in degrees, in either direction."""
    padding_mode: PaddingMode = "reflection"
    """What fills a crop beyond the stored image, where shift and rotation can move its corners: the image's reflection, or ``black`` (after
    ``degrade``). Prepared videos have black only where the picture ends, which ``padaug`` simulates."""
    hflip_prob: float = 0.5
    """Probability of a horizontal flip."""
    brightness: float = 0.25
    """Pixel values are multiplied by a factor between 1 - brightness and 1 + brightness; black stays black."""
    gamma: float = 0.25
    """Gamma correction: the exponent of the pixel values lies between exp(-gamma) and exp(gamma)."""
    degrade: DegradeConfig = field(default_factory=DegradeConfig)
    """Blur, low resolution, noise, compression, color and erasing."""
    padaug: PadAugConfig = field(default_factory=PadAugConfig)
    """Black where the crop leaves the picture."""
    strength: float = 1.0
    """Factor of the probabilities of ``degrade`` and of all ranges here but ``scales``; one number for a search, 0 disables them."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not 0 < self.scales[0] <= self.scales[1]:
            raise ConfigError(f"augment.scales={self.scales} must be two ascending numbers above 0")
        ranged = 0 <= self.max_shift < 0.5 and 0 <= self.max_rotation_deg <= 90 and 0 <= self.hflip_prob <= 1 and 0 <= self.brightness < 1
        if not ranged or self.gamma < 0:
            raise ConfigError(
                f"augment: max_shift={self.max_shift} must be below 0.5, max_rotation_deg={self.max_rotation_deg} at most 90, "
                f"hflip_prob={self.hflip_prob} at most 1, brightness={self.brightness} below 1, gamma={self.gamma} and all of them at least 0"
            )
        if not 0 <= self.strength <= 4:
            raise ConfigError(f"augment.strength={self.strength} must lie between 0 and 4")

    def scaled(self) -> "AugmentConfig":
        """The settings with ``strength`` applied, limited to what is valid."""
        most = {"motion_blur": 0.5, "defocus": 0.5}
        values = {name: min(self.strength * getattr(self.degrade, name), most.get(name, 1.0)) for name in _SCALED}
        return replace(
            self,
            strength=1.0,
            max_shift=min(self.strength * self.max_shift, 0.45),
            max_rotation_deg=min(self.strength * self.max_rotation_deg, 90.0),
            brightness=min(self.strength * self.brightness, 0.9),
            gamma=self.strength * self.gamma,
            degrade=replace(self.degrade, **values),
        )
