"""How long each stage took when it last ran here: beside the checkpoints, outside of what DVC tracks.

A duration is no artifact: it differs from run to run, and an artifact must not.
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
    """One run of a stage: how long it took, and when it ended, in seconds of the epoch."""

    seconds: float
    ended: float


def record_duration(state: Path, stage: str, seconds: float) -> None:
    """Keep the duration of a stage that has just ended; the one before is replaced.

    Args:
        state: the folder `Settings.state`.
        stage: the stage's name.
        seconds: how long it took.
    """
    entry = Duration(round(seconds, 2), round(time.time(), 2))
    with atomic_output(_file(state, stage)) as partial:
        partial.write_text(json.dumps(asdict(entry)) + "\n", encoding="utf-8")


def read_durations(state: Path, stages: Iterable[str]) -> dict[str, Duration]:
    """Stage -> its last duration; a stage that never ran here, or whose record is damaged, is left out."""
    found = {}
    for stage in stages:
        try:
            found[stage] = Duration(**json.loads(_file(state, stage).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue
    return found


def _file(state: Path, stage: str) -> Path:
    return state / FOLDER / f"{stage}.json"
