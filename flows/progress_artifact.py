"""Live progress of a stage in the UI: its JSON lines become one Prefect progress artifact."""

import threading
from contextvars import copy_context
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_logger

from bestie.runtime.progress import PROGRESS_KEYS

UPDATE_S = 2.0


def describe_progress(values: dict[str, Any]) -> str:
    """Return one sentence: steps, rate, time left, and the other values that the stage reports."""
    others = "".join(f", {name} {value:.4g}" for name, value in values.items() if name not in PROGRESS_KEYS)
    minutes, seconds = divmod(round(values["remaining_s"]), 60)
    left = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    steps = f"{values['done']} of {values['total']}, {values['rate']:.3g} a second"
    return f"{values['progress']}: {steps}, {left} left{others}"


class ProgressReporter:
    """Shows the newest progress at most every two seconds, from a thread: a slow server never delays a stage."""

    def __init__(self) -> None:
        self._newest: dict[str, Any] | None = None
        self._changed, self._left = threading.Event(), threading.Event()
        self._artifact: UUID | None = None
        self._logger = get_logger("flows.progress_artifact")
        self._thread = threading.Thread(target=copy_context().run, args=(self._loop,), daemon=True)

    def show(self, values: dict[str, Any]) -> None:
        """Take the values of a progress line, to be shown soon."""
        self._newest = values
        self._changed.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._changed.set()
        self._thread.join(timeout=UPDATE_S)

    def _loop(self) -> None:
        while not self._left.is_set():
            self._changed.wait()
            self._changed.clear()
            self._publish()
            self._left.wait(UPDATE_S)
        self._publish()

    def _publish(self) -> None:
        values, self._newest = self._newest, None
        if values is None:
            return
        percent = 100.0 * min(1.0, values["done"] / max(values["total"], 1))
        try:
            if self._artifact is None:
                created: Any = create_progress_artifact(percent, description=describe_progress(values))
                self._artifact = created
            else:
                update_progress_artifact(self._artifact, percent, description=describe_progress(values))
        except Exception as error:  # progress is only displayed: a stage never fails because of it
            self._logger.debug("cannot show the progress: %s", error)
