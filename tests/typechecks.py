"""How annotations are checked while tests run: as Python's type checkers read them, an int is a float too; and a NumPy integer is an int."""

import numpy as np
from beartype import BeartypeConf, FrozenDict, beartype

strict = beartype(conf=BeartypeConf(is_pep484_tower=True, hint_overrides=FrozenDict({int: int | np.integer})))
