"""SIGTERM and Ctrl-C: a stage ends soon and says so; a training writes a checkpoint first."""

import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: Seconds to wait after a signal for the end of a training step; if it takes longer, the previous checkpoint is kept.
PATIENCE_S = 3.0
_PR_SET_PDEATHSIG = 1


class StoppedError(KeyboardInterrupt):
    """A signal asked this process to end. Like Ctrl-C in general, it is not an `Exception` that handlers catch.

    Attributes:
        number: the number of the signal.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}")


def stop_behind(error: BaseException | None) -> StoppedError | None:
    """Return the `StoppedError` behind an error, or None: interrupted code may raise another error on its way."""
    while error is not None and not isinstance(error, StoppedError):
        error = error.__cause__ or error.__context__
    return error


@contextmanager
def stoppable() -> Iterator[None]:
    """Have SIGTERM and SIGINT raise `StoppedError` in the main thread, so that incomplete files are removed."""
    with _handled(_raise):
        yield


def end_with_parent(number: int) -> None:
    """Have the kernel send this process a signal when its parent ends, however that happens (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").prctl(_PR_SET_PDEATHSIG, number)


class StopRequest:
    """A request to end, made by a signal and noted until the end of a step."""

    def __init__(self) -> None:
        self.number: int | None = None

    def came(self) -> bool:
        """Return whether a signal came; after that, only a second one interrupts the remaining work."""
        if self.number is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return self.number is not None

    def check(self) -> None:
        """Raise StoppedError if a signal came."""
        if self.number is not None:
            raise StoppedError(self.number)


@contextmanager
def deferred() -> Iterator[StopRequest]:
    """Only note the first signal in the block; a second one, or `PATIENCE_S` seconds, raises `StoppedError`."""
    request = StopRequest()

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
    """Handle signals in the block. Only the main thread can; in any other one the handlers stay as they are."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}  # type: ignore[arg-type]
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
