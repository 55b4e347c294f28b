"""Settings of the data sets: where they are and how they are read. Imports no library, so that the command line reads it quickly."""

from dataclasses import dataclass, field
from typing import Literal

from abaw_ray.core.errors import ConfigError
from abaw_ray.data.synthetic.config import SyntheticConfig

Contempt = Literal["own class", "drop", "other"]
"""Handling of AffectNet's eighth expression. Mapped to ``Other`` it reached F1 0.037 (``docs/data.md``, section 2), so by default it is a class of
its own."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The user's data sets. Each path is a root in the layout of its data set; an empty one means that the data set is not used."""

    affwild2: str = ""
    """Root of an Aff-Wild2 tree with its EXPR annotations."""
    affwild2_crops: Literal["", "cropped", "cropped_aligned"] = ""
    """Official crops of the tree to use in place of faces that are detected in its videos; the videos are still read, for times and audio."""
    videos: tuple[str, ...] = ()
    """Any videos, instead of the tree's. Each value is a video, a folder, a glob, or a list of paths and URIs (text: one per line; CSV or Parquet:
    column uri or path, and optionally video with names). For faces and features; training and scoring need the tree."""
    affectnet: str = ""
    """Root of AffectNet, in any of its three layouts."""
    contempt: Contempt = "own class"
    """Handling of Contempt (AffectNet, FER+, class folders): a class of its own, excluded, or relabelled ``Other``, which must then be among the
    encoder's classes."""
    rafdb: str = ""
    """Root of RAF-DB, in either of its layouts."""
    ferplus: str = ""
    """Root of FER+: fer2013new.csv and the folders of images that its authors' script writes."""
    ferplus_min_agreement: float = 0.5
    """An image of FER+ is used if one expression has more than this fraction of its votes, single votes removed. Default: the majority of FER+'s
    authors."""
    expw: str = ""
    """Root of ExpW: label.lst and the images."""
    image_folders: tuple[str, ...] = ()
    """Further still images: folders in the layout <train and val>/<class>/*, or <class>/* with a fraction of each class held out. A data set has the
    name of its folder."""
    class_map: tuple[str, ...] = ()
    """Expressions of class folders that are not named after one, as <folder>=<expression>: 0=Neutral 1=Happiness; drop excludes a folder. For one
    data set only: affectnet/0=Neutral."""
    val_fraction: float = 0.1
    """Fraction of a data set without a split (ExpW, image folders) that is held out for validation. Default ours."""
    val_seed: int = 0
    """Seed that selects the images of val_fraction."""
    test_names: str = "EXPR_test_release.txt"
    """Names of the test release, relative to ``affwild2``; where the file does not exist there is no test release."""
    test_example: str = "EXPR_test_example.txt"
    """The example submission that lists the requested rows, relative to ``affwild2``."""
    use_synthetic: bool = False
    """Use the synthetic data set in place of all data sets above; it is written to ``synthetic_dir`` unless it exists."""
    synthetic_dir: str = "runs/demo/data"
    """Location of the synthetic data set: a folder, or a URI in an object store. If results go to an object store and this is a folder, the data set
    is written beside the results, because other machines cannot read a local folder."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    """Content of the synthetic data set; read only with ``use_synthetic``."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not 0 < self.val_fraction < 1:
            raise ConfigError(f"data.val_fraction={self.val_fraction} must be above 0 and below 1")
        if not 0 <= self.ferplus_min_agreement < 1:
            raise ConfigError(f"data.ferplus_min_agreement={self.ferplus_min_agreement} must be at least 0 and below 1")
