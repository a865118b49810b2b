"""The states of many flow runs, asked for together: a server is not asked for each run by itself, every second."""

import threading
import time
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State

#: The most runs that a server tells of in one answer.
PAGE = 200


class RunStates:
    """States at most `age_s` seconds old of the runs between `follow` and `forget`, for any number of threads."""

    def __init__(self, age_s: float) -> None:
        self._age_s, self._asked = age_s, -float("inf")
        self._guard = threading.Lock()
        self._states: dict[UUID, State | None] = {}

    def follow(self, run_id: UUID) -> None:
        """Ask for the state of this run, too, from now on."""
        with self._guard:
            self._states[run_id] = None

    def forget(self, run_id: UUID) -> None:
        """Ask for the state of this run no longer."""
        with self._guard:
            self._states.pop(run_id, None)

    def of(self, run_id: UUID) -> State | None:
        """Return the state of a run; None if it was not asked for yet, or the server does not know the run.

        Raises:
            httpx.HTTPError: the server does not answer.
        """
        with self._guard:
            if time.monotonic() - self._asked >= self._age_s:
                self._ask()
            return self._states.get(run_id)

    def _ask(self) -> None:
        runs = list(self._states)
        with get_client(sync_client=True) as client:
            for start in range(0, len(runs), PAGE):
                these = FlowRunFilter(id=FlowRunFilterId(any_=runs[start : start + PAGE]))
                found = client.read_flow_runs(flow_run_filter=these, limit=PAGE)
                self._states |= {run.id: run.state for run in found}
        self._asked = time.monotonic()
