"""What all subcommands print for scripts, and the option that asks for it."""

import json
from typing import Annotated, Any

import typer

#: Exit status of a command that did its work and found something wrong; that of bad input is 2 (`bestie.cli`).
FOUND = 1

#: The option of commands that tell something.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
#: The option of commands that write files.
WrittenAsJson = Annotated[bool, typer.Option("--json", help="Say what was written as JSON.")]


def print_json(value: Any) -> None:
    """One JSON value on standard output, paths as text."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))
