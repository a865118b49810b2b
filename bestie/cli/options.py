"""Options that several commands have in common."""

from typing import Annotated

import typer

#: The option for seeds, with the limits of `bestie.params.Seed`.
Seeds = Annotated[list[int], typer.Option("--seed", min=0, max=2**32 - 1, help="Seed to train with; can be repeated.")]
