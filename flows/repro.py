"""One stage run by DVC in a process group: output goes to the log, progress to the UI, and failures are classified."""

import os
import re
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from prefect.client.schemas.objects import State
from prefect.states import Completed

from bestie.errors import MissingPartsError
from bestie.runtime.process_group import ProcessGroup
from bestie.runtime.progress import parse_progress
from flows.faults import InfrastructureError, StageError, describe
from flows.progress_artifact import ProgressReporter
from flows.stopping import Stop

KEPT_LINES = 60
#: The name of the state of a stage whose parts have yet to be computed.
TO_COMPUTE = "ToCompute"
_ENDED = re.compile(r"exited with (-?\d+)")
#: A shell adds this to the number of the signal that killed a command, to give its exit status.
_SHELL_SIGNALS = 128
#: How the lines begin in which DVC gives advice about git and remotes after every stage.
_ADVICE = ("Use `dvc push`", "To track the changes", "\tgit add", "To enable auto staging", "\tdvc config")


class StageOutcome(Enum):
    """How a stage came to its outputs."""

    UNCHANGED = "unchanged: its command, parameters, code and inputs are those of the last run"
    RESTORED = "restored: an earlier run had the same inputs"
    RAN = "ran"
    WANTED = "has to be computed; its parts come next"


@dataclass(frozen=True)
class Surroundings:
    """Where a command runs, and what it is given.

    Attributes:
        root: the folder with `dvc.yaml`.
        stop: ends the command.
        log: called with each line of output that is not progress.
        environment: variables that are added to those of this process.
        descriptors: file descriptors of locks, which are held until the command's processes have ended.
    """

    root: Path
    stop: Stop
    log: Callable[[str], None]
    environment: dict[str, str]
    descriptors: tuple[int, ...] = ()


def repro_stage(name: str, where: Surroundings, options: Iterable[str] = ()) -> StageOutcome:
    """Let DVC reproduce one stage and no other; return `WANTED` if it should join parts that are not there yet.

    Args:
        name: the stage.
        where: see `Surroundings`.
        options: further options of `dvc repro`, such as `--force` or `--pull`.

    Raises:
        StageError: the stage failed; the message is the end of its output.
        InfrastructureError: a signal killed the stage or DVC, or another DVC command was in the way.
        CancelledError: the run was cancelled meanwhile.
    """
    status, lines = run_dvc(["repro", "--single-item", *options, name], where)
    if status == 0:
        return _outcome(lines)
    if _told_status(lines) == MissingPartsError.status:
        return StageOutcome.WANTED
    raise explain(name, status, lines)


def explain(name: str, status: int, lines: list[str]) -> StageError | InfrastructureError:
    """Return the error that says what went wrong with a stage, from DVC's exit status and the lines of output.

    DVC's own exit status says little; the status of the stage's command is in DVC's last line.
    """
    told = _told_status(lines)
    own = status if told is None else told
    said = describe(lines) if told is not None else "\n".join(line for line in lines if line.startswith("ERROR"))
    said = said or describe(lines) or "it printed nothing"
    if own < 0 or _SHELL_SIGNALS < own < _SHELL_SIGNALS + signal.NSIG:
        number = -own if own < 0 else own - _SHELL_SIGNALS
        return InfrastructureError(f"{name} was killed by signal {number}. It printed last:\n{said}")
    if "acquire lock" in said or "is busy" in said:
        return InfrastructureError(f"{name}: another DVC command is in the way:\n{said}")
    return StageError(f"{name} failed:\n{said}")


def _told_status(lines: list[str]) -> int | None:
    """Return the exit status of the stage's command from DVC's last line; None if DVC did not run it."""
    ended = [int(found.group(1)) for line in lines if (found := _ENDED.search(line))]
    return ended[-1] if ended else None


def completed(outcome: StageOutcome) -> State:
    """Return the state of a stage that did not fail: Cached if nothing had to run, ToCompute if parts are needed."""
    names = {StageOutcome.RAN: None, StageOutcome.WANTED: TO_COMPUTE}
    return Completed(name=names.get(outcome, "Cached"), message=outcome.value)


def run_dvc(arguments: list[str], where: Surroundings) -> tuple[int, list[str]]:
    """Run a DVC command, see `run_command`."""
    return run_command([sys.executable, "-m", "dvc", "--wait-for-lock", *arguments], where)


def run_command(command: list[str], where: Surroundings) -> tuple[int, list[str]]:
    """Run a command; return its exit status and the last lines of its output.

    Raises:
        CancelledError: the run was cancelled meanwhile.
    """
    lines: deque[str] = deque(maxlen=KEPT_LINES)
    environment = _inherited() | where.environment
    group = ProcessGroup(command, cwd=where.root, environment=environment, keep_open=where.descriptors)
    with group, where.stop.ends(group), ProgressReporter() as progress:
        for line in group.lines():
            values = parse_progress(line)
            if values is not None:
                progress.show(values)
            elif line.strip() and not line.startswith(_ADVICE):
                lines.append(line)
                where.log(line)
        status = group.wait()
    where.stop.check()
    return status, list(lines)


def _inherited() -> dict[str, str]:
    """Return the environment of a stage: that of this process, with JSON progress, without Prefect's variables."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{own.get('PATH', os.defpath)}"
    return own | {"PATH": path, "BESTIE_PROGRESS": "json", "PYTHONUNBUFFERED": "1"}


def _outcome(lines: list[str]) -> StageOutcome:
    if any("didn't change, skipping" in line for line in lines):
        return StageOutcome.UNCHANGED
    if any("is cached - skipping run" in line for line in lines):
        return StageOutcome.RESTORED
    pulled = any(line.startswith("Pulling data for ") for line in lines)
    if pulled and not any(line.startswith("Unable to pull data for ") for line in lines):
        return StageOutcome.RESTORED
    return StageOutcome.RAN
