"""What all subcommands print for scripts."""

import json
from typing import Any

#: Exit status of a command that did its work and found something wrong; that of bad input is 2 (`bestie.cli`).
FOUND = 1


def print_json(value: Any) -> None:
    """One JSON value on standard output, paths as text."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))
