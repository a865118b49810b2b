"""What does not change results: device, threads, workers, progress. Read from the environment alone."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bestie.artifacts.atomic import check_folder
from bestie.errors import InputError

N = TypeVar("N", int, float)


@dataclass(frozen=True)
class Settings:
    """Values of the `BESTIE_*` variables.

    Attributes:
        device: `auto` (cuda where there is one), `cpu`, `cuda`, `cuda:1`, ...
        workers: processes that load data; 0 loads in the training process.
        processes: processes that share a stage; 0: one a GPU that is visible.
        parts: number of parts of a stage that is computed in parts; 0: it is not.
        part: the part to compute, from 1; 0: join them all.
        checkpoint_minutes: shortest time between two checkpoints of a training.
        state: folder for checkpoints and parts, outside of DVC's outputs.
        json_progress: progress as one JSON object a line instead of a bar.
        compile: classifier and network are compiled for their training (`torch.compile`).
    """

    device: str = "auto"
    workers: int = 0
    processes: int = 0
    parts: int = 0
    part: int = 0
    checkpoint_minutes: float = 5.0
    state: Path = Path(".bestie")
    json_progress: bool = False
    compile: bool = False

    @property
    def joins(self) -> bool:
        """Whether a stage joins parts in place of computing."""
        return self.parts > 0 and self.part == 0


def load_settings() -> Settings:
    """The settings of this process.

    Raises:
        InputError: a variable holds what cannot be read; the message names it.
    """
    default = Settings()
    part, parts = _parts("BESTIE_PARTS")
    return Settings(
        device=os.environ.get("BESTIE_DEVICE", default.device),
        workers=_number("BESTIE_WORKERS", default.workers),
        processes=_number("BESTIE_PROCESSES", default.processes),
        parts=parts,
        part=part,
        checkpoint_minutes=_number("BESTIE_CHECKPOINT_MINUTES", default.checkpoint_minutes),
        state=_folder("BESTIE_STATE", default.state),
        json_progress=_choice("BESTIE_PROGRESS", "bar", "json") == "json",
        compile=_choice("BESTIE_COMPILE", "0", "1") == "1",
    )


def _number(name: str, default: N) -> N:
    text = os.environ.get(name)
    if text is None:
        return default
    try:
        value = type(default)(text)
    except ValueError:
        raise InputError(f"environment variable {name}={text!r}: expected a number; unset or correct it") from None
    if value < 0:
        raise InputError(f"environment variable {name}={text!r}: must not be negative; unset or correct it")
    return value


def _parts(name: str) -> tuple[int, int]:
    """The part, 0 for all, and the number of parts, 0 for none."""
    text = os.environ.get(name)
    if text is None:
        return 0, 0
    found = re.fullmatch(r"(?:([1-9]\d{0,3})/)?([1-9]\d{0,3})", text)
    part, parts = (int(number or 0) for number in found.groups()) if found else (1, 0)
    if part > parts:
        raise InputError(
            f"environment variable {name}={text!r}: expected 2/4 to compute the second of four parts, or 4 to join "
            "four; unset or correct it"
        )
    return part, parts


def _folder(name: str, default: Path) -> Path:
    path = Path(os.environ.get(name, default))
    try:
        check_folder(path)
    except InputError as error:
        raise InputError(f"environment variable {name}: {error}") from None
    return path


def _choice(name: str, default: str, other: str) -> str:
    text = os.environ.get(name, default)
    if text not in (default, other):
        raise InputError(f"environment variable {name}={text!r}: expected {default} or {other}; unset or correct it")
    return text
