"""How long each stage took when it last ran here, kept beside the checkpoints and not tracked by DVC.

A duration is not an artifact, because it differs from run to run.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from bestie.artifacts.atomic import atomic_output

FOLDER = "durations"


@dataclass(frozen=True)
class Duration:
    """One run of a stage: how long it took, in seconds, and when it ended, in seconds since the epoch."""

    seconds: float
    ended: float


def record_duration(state: Path, stage: str, seconds: float) -> None:
    """Record the duration of a stage that has just ended; it replaces the previous one.

    Args:
        state: the folder `Settings.state`.
        stage: the stage's name.
        seconds: how long it took.
    """
    entry = Duration(round(seconds, 2), round(time.time(), 2))
    with atomic_output(_file(state, stage)) as partial:
        partial.write_text(json.dumps(asdict(entry)) + "\n", encoding="utf-8")


def read_durations(state: Path, stages: Iterable[str]) -> dict[str, Duration]:
    """Return the last duration of each stage, except of stages that never ran here or whose record is damaged."""
    found = {}
    for stage in stages:
        try:
            found[stage] = Duration(**json.loads(_file(state, stage).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue
    return found


def _file(state: Path, stage: str) -> Path:
    return state / FOLDER / f"{stage}.json"
