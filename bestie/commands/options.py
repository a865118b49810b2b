"""Options that several commands share."""

from typing import Annotated

import typer

#: The seeds that `bestie.params.Seed` takes.
Seeds = Annotated[list[int], typer.Option("--seed", min=0, max=2**32 - 1, help="Seeds to train with.")]
