"""The console that the commands print to."""

import os
import sys

from rich.console import Console

#: Columns of a file or pipe, so that no table is cut there.
WIDE = 400


def plain_console(*, stderr: bool = False, highlight: bool = True) -> Console:
    """Return a console that prints names from data as they are, without a meaning for `[/x]` or `:x:` in them.

    It is as wide as the terminal, or as `COLUMNS` says; a file or a pipe gets every line whole.
    """
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if terminal or "COLUMNS" in os.environ else WIDE
    return Console(stderr=stderr, markup=False, emoji=False, highlight=highlight, width=width)
