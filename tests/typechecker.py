"""The type checker that runs in tests: beartype, which accepts an int as a float as static checkers do."""

from beartype import BeartypeConf, beartype

check_types = beartype(conf=BeartypeConf(is_pep484_tower=True))
