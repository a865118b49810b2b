"""Settings that do not change results, such as device, workers and progress; they come only from the environment."""

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
        device: `auto` (cuda if a GPU is visible, otherwise cpu), `cpu`, `cuda`, `cuda:1`, ...
        workers: number of processes that load data; 0: the training process loads it; None: chosen by the training.
        processes: number of processes that share a stage; 0: one per visible GPU.
        parts: number of parts that a stage is computed in; 0: it is computed as a whole.
        part: the part to compute, from 1; 0: join all parts.
        checkpoint_minutes: shortest time between two checkpoints of a training, in minutes.
        state: folder for checkpoints and parts, which is not among DVC's outputs.
        json_progress: whether progress is one JSON object per line instead of a bar.
        curves: `tensorboard`: trainings write their curves as they go, into the state folder; `off`: they do not.
        compile: whether the classifier and the network are compiled for training (`torch.compile`).
    """

    device: str = "auto"
    workers: int | None = None
    processes: int = 0
    parts: int = 0
    part: int = 0
    checkpoint_minutes: float = 5.0
    state: Path = Path(".bestie")
    json_progress: bool = False
    curves: str = "off"
    compile: bool = False

    @property
    def joins(self) -> bool:
        """Whether a stage joins its parts instead of computing."""
        return self.parts > 0 and self.part == 0


def load_settings() -> Settings:
    """Return the settings of this process.

    Raises:
        InputError: a variable has an invalid value; the message names the variable.
    """
    default = Settings()
    part, parts = _parts("BESTIE_PARTS")
    return Settings(
        device=os.environ.get("BESTIE_DEVICE", default.device),
        workers=_number("BESTIE_WORKERS", 0) if "BESTIE_WORKERS" in os.environ else default.workers,
        processes=_number("BESTIE_PROCESSES", default.processes),
        parts=parts,
        part=part,
        checkpoint_minutes=_number("BESTIE_CHECKPOINT_MINUTES", default.checkpoint_minutes),
        state=_folder("BESTIE_STATE", default.state),
        json_progress=_choice("BESTIE_PROGRESS", "bar", "json") == "json",
        curves=_choice("BESTIE_CURVES", "off", "tensorboard"),
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
    """Return the part (0: all of them) and the number of parts (0: the stage is computed as a whole)."""
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
