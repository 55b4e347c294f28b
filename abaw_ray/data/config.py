"""Settings of the still image readers. The module imports no library, so the command line reads it quickly."""

from typing import Literal

Contempt = Literal["own class", "drop", "other"]
"""What becomes of AffectNet's eighth expression. Mapped to ``Other`` it reached F1 0.037 (``docs/data.md``, section 2), so the default of the readers
is a class of its own."""
