"""Where a run's files lie, by their paths in the repository."""

from pathlib import Path

DATA = Path("data")
#: The data set that `prepare` draws where `dataset.format` is shapes.
GENERATED_ROOT = DATA / "raw" / "generated"


def folder(name: str) -> Path:
    """The output folder of a stage."""
    return DATA / name
