"""SIGTERM and Ctrl-C: a stage ends soon, says so, and a training writes a checkpoint first."""

import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: A step of a training that takes longer after the signal is not waited for; the checkpoint before it stays.
PATIENCE_S = 3.0
_PR_SET_PDEATHSIG = 1


class StoppedError(KeyboardInterrupt):
    """A signal asked this process to end; as Ctrl-C always does, it passes by every handler of errors.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}")


def stop_behind(error: BaseException | None) -> StoppedError | None:
    """The signal that an error came of: what is interrupted while it tidies up may fail in a way of its own."""
    while error is not None and not isinstance(error, StoppedError):
        error = error.__cause__ or error.__context__
    return error


@contextmanager
def stoppable() -> Iterator[None]:
    """In this context SIGTERM and SIGINT raise `StoppedError` in the main thread, so that half files are removed."""
    with _handled(_raise):
        yield


def end_with_parent(number: int) -> None:
    """Have the kernel send this process a signal when the one that started it is gone, however it ended (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").prctl(_PR_SET_PDEATHSIG, number)


class Request:
    """Whether a signal has asked to end, while it waits for the end of a step."""

    def __init__(self) -> None:
        self.number: int | None = None

    def came(self) -> bool:
        """Whether a signal came; from now on only a second one interrupts what is left to do."""
        if self.number is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return self.number is not None

    def check(self) -> None:
        """Raise StoppedError if a signal came."""
        if self.number is not None:
            raise StoppedError(self.number)


@contextmanager
def deferred() -> Iterator[Request]:
    """In this context a first signal is only noted; a second one, or `PATIENCE_S` seconds, raise `StoppedError`."""
    request = Request()

    def note(number: int, frame: FrameType | None) -> None:
        if request.number is not None:
            _raise(request.number, frame)
        request.number = number
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)

    def tire(_number: int, frame: FrameType | None) -> None:
        _raise(request.number or signal.SIGTERM, frame)

    with _handled(note), _handled(tire, (signal.SIGALRM,)):
        try:
            yield request
        finally:
            if request.number is not None:
                signal.setitimer(signal.ITIMER_REAL, 0)


def _raise(number: int, _frame: FrameType | None) -> None:
    raise StoppedError(number)


@contextmanager
def _handled(handler: object, numbers: tuple[signal.Signals, ...] = SIGNALS) -> Iterator[None]:
    """Signals reach the main thread alone; a loop in another one leaves them as they are."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}  # type: ignore[arg-type]
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
