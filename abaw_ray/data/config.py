"""Settings of the data sets: where they are and how they are read. Imports no library, so that the command line reads it quickly."""

from dataclasses import dataclass, field
from typing import Literal

from abaw_ray.data.synthetic.config import SyntheticConfig

Contempt = Literal["own class", "drop", "other"]
"""What becomes of AffectNet's eighth expression. Mapped to ``Other`` it reached F1 0.037 (``docs/data.md``, section 2), so the default of the readers
is a class of its own."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The user's data sets. Each path is a root in the layout of its data set; an empty one means that the data set is not used."""

    affwild2: str = ""
    """Root of an Aff-Wild2 tree with its EXPR annotations."""
    videos: str = ""
    """Any videos, instead of the tree's: a folder, a glob, one video, or a list of paths and URIs (text: one a line; CSV or Parquet: column uri or
    path, and optionally video for own names). For faces and features; training and scoring need the tree."""
    affectnet: str = ""
    """Root of AffectNet, in any of its three layouts."""
    contempt: Contempt = "own class"
    """What AffectNet's eighth expression counts as; ``other`` needs ``Other`` among the encoder's classes."""
    rafdb: str = ""
    """Root of RAF-DB, in either of its layouts."""
    test_names: str = "EXPR_test_release.txt"
    """Names of the test release, relative to ``affwild2``; where the file does not exist there is no test release."""
    test_example: str = "EXPR_test_example.txt"
    """The example submission that lists the requested rows, relative to ``affwild2``."""
    use_synthetic: bool = False
    """Generate the synthetic data set into ``synthetic_dir`` unless it is there, and use it in place of all data sets above."""
    synthetic_dir: str = "runs/demo/data"
    """Where the synthetic data set lies: a folder, or an address in an object store. Where results go to an object store and this is a folder, the
    data set lies beside the results: other machines cannot read a folder of this one."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    """Content of the synthetic data set; read only with ``use_synthetic``."""
