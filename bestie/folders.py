"""Where a run's files lie, by their paths in the repository."""

from pathlib import Path

#: The parameters of the run, and the folder of the sets that `bestie profile` writes there.
PARAMS = Path("params.yaml")
PROFILES = Path("profiles")
DATA = Path("data")
#: The data set that `prepare` draws where `dataset.format` is shapes.
GENERATED_ROOT = DATA / "raw" / "generated"


def folder(name: str) -> Path:
    """The output folder of a stage."""
    return DATA / name


def part_folder(state: Path, stage: str, number: int, count: int) -> Path:
    """Where part `number` (from 1) of `count` of a stage lies until the parts are joined, in the folder of settings."""
    return state / "parts" / stage / f"{number}-of-{count}"


def part_folders(state: Path, stage: str, count: int) -> list[Path]:
    """The folders of all parts, in order."""
    return [part_folder(state, stage, number, count) for number in range(1, count + 1)]
