"""Checkpoints outside of DVC's outputs: an interrupted training continues where it was.

A checkpoint belongs to one training: its folder is named by the fingerprint of parameters, inputs and code
(`bestie.fingerprint`), so one of another training is never used. It is removed when the training has ended.
"""

import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bestie.artifacts.atomic import atomic_output
from bestie.processes import rank


class Checkpoints:
    """The last state of one training, written at most every `minutes`, by the first of several processes.

    Args:
        folder: the parent of all checkpoints of a stage.
        name: the training's fingerprint; checkpoints by other names are removed, they cannot be used.
        minutes: shortest time between two checkpoints.
    """

    def __init__(self, folder: Path, name: str, *, minutes: float) -> None:
        self.folder = folder / name
        self._minutes = minutes
        self._last = time.monotonic()
        if rank() > 0:
            return
        if folder.is_dir():
            for other in folder.iterdir():
                if other.name != name:
                    shutil.rmtree(other)
        self.folder.mkdir(parents=True, exist_ok=True)

    def due(self) -> bool:
        """Whether it is time for the next one."""
        return time.monotonic() - self._last >= self._minutes * 60

    def save(self, state: Mapping[str, Any]) -> None:
        """Write tensors and plain values; the file before is replaced only when all is written."""
        if rank() == 0:
            # Through a file of Python's, which tells of a full disk; torch's own writer only says that it failed.
            with atomic_output(self.folder / "state.pt") as partial, partial.open("wb") as file:
                torch.save(dict(state), file)
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The last state, or None where there is none or it is damaged. Nothing in it can run code.

        Raises:
            UnpicklingError: it holds more than tensors and plain values.
        """
        path = self.folder / "state.pt"
        if not path.is_file():
            return None
        try:
            return torch.load(path, weights_only=True, map_location="cpu")
        except (RuntimeError, EOFError, OSError) as error:
            print(f"{path} is damaged and not used: the training starts anew ({error})", file=sys.stderr)
            return None

    def remove(self) -> None:
        """The training has ended and its artifact is written."""
        shutil.rmtree(self.folder, ignore_errors=True)
