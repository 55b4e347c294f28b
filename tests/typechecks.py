"""How annotations are checked while tests run: as Python's type checkers read them, a whole number is a float too."""

from beartype import BeartypeConf, beartype

strict = beartype(conf=BeartypeConf(is_pep484_tower=True))
