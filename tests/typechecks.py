"""Configuration of the annotation checks: as for static type checkers, an int is accepted as a float; a NumPy integer is accepted as an int."""

import numpy as np
from beartype import BeartypeConf, FrozenDict, beartype

strict = beartype(conf=BeartypeConf(is_pep484_tower=True, hint_overrides=FrozenDict({int: int | np.integer})))
