"""Files that are not stored at their own path, such as those of an earlier run in a cache or a remote.

Readers of tables accept a `Blob`, and readers of maps a `BlobFolder`, wherever they accept a path.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bestie.artifacts.paths import stage_of
from bestie.errors import InputError

REMEDY = "Run the stage that writes it again."


@dataclass(frozen=True)
class Blob:
    """One file.

    Attributes:
        name: its name in messages.
        open: returns its bytes as a seekable binary file; raises InputError if they cannot be had.
        remedy: what to do if the file is not what it should be.
    """

    name: str
    open: Callable[[], BinaryIO]
    remedy: str = REMEDY

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class BlobFolder:
    """A folder; `files` maps each path below it, with "/" between the parts, to the file."""

    name: str
    files: Mapping[str, Blob]
    remedy: str = REMEDY

    def __str__(self) -> str:
        return self.name


def remedy(source: Path | Blob | BlobFolder) -> str:
    """Return what to do if a file or folder is not what it should be."""
    return REMEDY if isinstance(source, Path) else source.remedy


def missing(source: Path | Blob) -> InputError:
    """Return the error for a file or folder that does not exist; it names the stage that writes it, if known."""
    stage = stage_of(source) if isinstance(source, Path) else None
    command = "" if stage is None else f": `dvc repro {stage}`"
    return InputError(f"{source} does not exist. Run the stage that writes it{command}.")
