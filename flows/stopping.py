"""Ends the stages of a run when the run is cancelled or the worker that started it is gone."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Self
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.logging import get_logger
from prefect.states import Cancelled, Crashed

from bestie.process_group import ProcessGroup
from flows.faults import StoppedError

POLL_S = 2.0


class Stop:
    """What all stages of one run listen to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: set[ProcessGroup] = set()
        self._end: Callable[[], State] | None = None
        self._event = threading.Event()

    def state(self) -> State:
        """The state that a stopped run, and each of its stages, ends in."""
        assert self._end is not None
        return self._end()

    def now(self, kind: Callable[..., State], message: str) -> None:
        """End all stages that run, and let none start. The first call decides what the run ends in.

        Args:
            kind: what makes that state, such as `prefect.states.Cancelled`.
            message: what a person reads.
        """
        with self._lock:
            self._end = self._end or partial(kind, message=message)
            self._event.set()
            groups = list(self._groups)
        enders = [threading.Thread(target=group.terminate) for group in groups]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()

    def check(self) -> None:
        """Raise StoppedError if the run is to end."""
        if self._end is not None:
            raise StoppedError(self._end().message)

    def sleep(self, seconds: float) -> None:
        """Wait, at most until the run is to end: then raise StoppedError."""
        self._event.wait(seconds)
        self.check()

    @contextmanager
    def ends(self, group: ProcessGroup) -> Iterator[None]:
        """While in this context, `now` ends the group. Raises StoppedError if it came before."""
        with self._lock:
            self.check()
            self._groups.add(group)
        try:
            yield
        finally:
            with self._lock:
                self._groups.discard(group)


class Watch:
    """Looks every two seconds whether this run has been cancelled, or lost the worker that started it.

    Prefect ends a run through its worker. A run without one, because a person started it or because the
    worker was killed, would go on; so the run looks for itself.
    """

    def __init__(self, stop: Stop, flow_run_id: UUID | str) -> None:
        self._stop, self._id = stop, UUID(str(flow_run_id))
        self._left = threading.Event()
        self._parent = os.getppid() if "PREFECT__WORKER_NAME" in os.environ else None
        self._logger = get_logger("flows.stopping")
        self._thread = threading.Thread(target=copy_context().run, args=(self._loop,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()

    def _loop(self) -> None:
        with get_client(sync_client=True) as client:
            while not self._left.wait(POLL_S):
                if self._parent is not None and os.getppid() != self._parent:
                    self._stop.now(Crashed, "The worker of this run is gone. Run again to continue.")
                    return
                try:
                    state = client.read_flow_run(self._id).state
                except Exception as error:  # the server may be restarting; the next look is soon
                    self._logger.debug("cannot read the state of this run: %s", error)
                    continue
                if state is not None and (state.is_cancelling() or state.is_cancelled()):
                    self._stop.now(Cancelled, "Cancelled; what was running has ended.")
                    return
