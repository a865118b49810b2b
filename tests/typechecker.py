"""What checks types while tests run: beartype, where an int is a float as it is for static checkers."""

from beartype import BeartypeConf, beartype

check_types = beartype(conf=BeartypeConf(is_pep484_tower=True))
