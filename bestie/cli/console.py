"""The console that the commands print to."""

from rich.console import Console


def plain_console(*, stderr: bool = False, highlight: bool = True) -> Console:
    """Return a console that prints names from data as they are, without a meaning for `[/x]` or `:x:` in them."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=highlight)
