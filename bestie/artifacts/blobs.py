"""Files that lie elsewhere than under their own path, such as those of an earlier run in a cache or a remote.

Tables take a `Blob` and maps a `BlobFolder` wherever they take a path.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bestie.errors import InputError
from bestie.folders import stage_of

REMEDY = "Run the stage that writes it again."


@dataclass(frozen=True)
class Blob:
    """One file.

    Attributes:
        name: what messages call it.
        open: gives its bytes as a binary file that can seek; InputError where they are not to be had.
        remedy: what to do when the file is not what it should be.
    """

    name: str
    open: Callable[[], BinaryIO]
    remedy: str = REMEDY

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class BlobFolder:
    """A folder: `files` by their path below it, with "/" between the parts."""

    name: str
    files: Mapping[str, Blob]
    remedy: str = REMEDY

    def __str__(self) -> str:
        return self.name


def remedy(source: Path | Blob | BlobFolder) -> str:
    """What to do when a file or folder is not what it should be."""
    return REMEDY if isinstance(source, Path) else source.remedy


def missing(source: Path | Blob) -> InputError:
    """The error for a file or folder that is not there: it names the stage that writes it, where that is known."""
    stage = stage_of(source) if isinstance(source, Path) else None
    command = "" if stage is None else f": `dvc repro {stage}`"
    return InputError(f"{source} does not exist. Run the stage that writes it{command}.")
