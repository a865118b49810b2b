"""Where commands print to."""

from rich.console import Console


def plain_console(*, stderr: bool = False, highlight: bool = True) -> Console:
    """A console that prints names from data as they are: `[/x]` and `:x:` in them mean nothing."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=highlight)
