"""The stages of one run on this machine, in this workspace, one Prefect task each."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed

from flows.graph import Stage, is_unchanged
from flows.run_stage import Outcome, Surroundings, run_stage
from flows.slots import Slot, gpu_slot
from flows.stopping import Stop


class OneMachine:
    """Runs stages here.

    Args:
        root: the workspace, which the caller has locked.
        stop: ends what runs.
        lock: file descriptor of the workspace's lock.
        force: run stages that are up to date, too.
    """

    def __init__(self, root: Path, stop: Stop, *, lock: int, force: bool) -> None:
        self._root, self._stop, self._lock, self._force = root, stop, lock, force

    def run(self, stage: Stage) -> State:
        """Bring one stage up to date; its state is named Cached when nothing had to run."""
        self._stop.check()
        if not self._force and is_unchanged(self._root, stage.name):
            return completed(Outcome.UNCHANGED)
        log = get_run_logger()
        with self._slot(stage) as slot:
            where = Surroundings(self._root, self._stop, log.info, slot.environment, (self._lock, *slot.descriptors))
            return completed(run_stage(stage.name, where, ["--force"] if self._force else []))

    @contextmanager
    def _slot(self, stage: Stage) -> Iterator[Slot]:
        if stage.pool != "gpu":
            yield Slot()
            return
        with gpu_slot(self._stop.sleep) as slot:
            yield slot


def completed(outcome: Outcome) -> State:
    """The state of a stage that is up to date."""
    name = None if outcome is Outcome.RAN else "Cached"
    return Completed(name=name, message=outcome.value)
