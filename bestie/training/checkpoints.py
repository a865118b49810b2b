"""Checkpoints outside of DVC's outputs, from which an interrupted training continues.

A checkpoint belongs to one training: its folder is named after the fingerprint of parameters, inputs and code
(`bestie.runtime.fingerprint`), so a training never continues from the checkpoint of another one. It is removed when
the training has ended.
"""

import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bestie.artifacts.atomic import atomic_output
from bestie.runtime.ranks import rank


class Checkpoints:
    """The last state of one training. If several processes train, the first one writes it.

    Args:
        folder: the parent folder of all checkpoints of a stage.
        name: the training's fingerprint. Checkpoints with other names can no longer be used, and are removed.
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
        """Return whether it is time for the next checkpoint."""
        return time.monotonic() - self._last >= self._minutes * 60

    def save(self, state: Mapping[str, Any]) -> None:
        """Write tensors and plain values. The previous checkpoint is replaced only when everything is written."""
        if rank() == 0:
            # Python's own file object reports a full disk; torch's writer only says that it failed.
            with atomic_output(self.folder / "state.pt") as partial, partial.open("wb") as file:
                torch.save(dict(state), file)
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """Return the last state, or None if there is none or it is damaged. Loading it cannot run code.

        Raises:
            UnpicklingError: the file holds more than tensors and plain values.
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
        """Remove the checkpoint; call this when the training's artifact is written."""
        shutil.rmtree(self.folder, ignore_errors=True)
