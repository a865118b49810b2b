"""End the stages of a run when the run is cancelled, or when the worker that started it is gone."""

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

from bestie.runtime.process_group import ProcessGroup
from flows.faults import CancelledError

POLL_S = 2.0


class Stop:
    """The stop signal that all stages of one run share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: set[ProcessGroup] = set()
        self._end: Callable[[], State] | None = None
        self._event = threading.Event()

    def state(self) -> State:
        """Return the state in which a stopped run, and each of its stages, ends."""
        assert self._end is not None
        return self._end()

    def now(self, kind: Callable[..., State], message: str) -> None:
        """End all running stages, and let no other start. The first call decides in which state the run ends.

        Args:
            kind: makes that state, such as `prefect.states.Cancelled`.
            message: the message of the state.
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
        """Raise CancelledError if the run has to end."""
        if self._end is not None:
            raise CancelledError(self._end().message)

    def sleep(self, seconds: float) -> None:
        """Wait for some seconds; raise CancelledError as soon as the run has to end."""
        self._event.wait(seconds)
        self.check()

    @contextmanager
    def ends(self, group: ProcessGroup) -> Iterator[None]:
        """Let `now` end a group of processes while this context is open.

        Raises:
            CancelledError: `now` was called before.
        """
        with self._lock:
            self.check()
            self._groups.add(group)
        try:
            yield
        finally:
            with self._lock:
                self._groups.discard(group)


class Watch:
    """Checks every two seconds whether this run was cancelled, or lost the worker that started it.

    Prefect ends a run through its worker. A run without a worker, because a user started it or because the worker was
    killed, would go on; so the run checks for itself.

    Args:
        stop: ends what runs.
        flow_run_id: the run.
        given_up: whether to end the run, too, if the server counts it as crashed, because nothing was heard of it for
            a while, as of a host that slept. Another run has its work by then.
    """

    def __init__(self, stop: Stop, flow_run_id: UUID | str, *, given_up: bool = False) -> None:
        self._stop, self._id, self._given_up = stop, UUID(str(flow_run_id)), given_up
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
                except Exception as error:  # the server may be restarting; the next check is soon
                    self._logger.debug("cannot read the state of this run: %s", error)
                    continue
                if state is not None and (state.is_cancelling() or state.is_cancelled()):
                    self._stop.now(Cancelled, "Cancelled; what was running has ended.")
                    return
                if self._given_up and state is not None and state.is_crashed():
                    self._stop.now(Crashed, state.message or "The server has given this run up.")
                    return
