"""JSON output of the subcommands, and the options that ask for it."""

import json
from typing import Annotated, Any

import typer

#: Exit status of a command that did its work and found something wrong; the status for bad input is 2.
FOUND = 1

#: The option of commands that print information.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
#: The option of commands that write files.
WrittenAsJson = Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")]


def print_json(value: Any) -> None:
    """Print a JSON value on standard output; paths become text."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))
