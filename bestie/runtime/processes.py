"""Work on many images at once on a CPU: one process a core, each with one thread, and results in order.

A thread a core in each operation of a network leaves the cores waiting for one another; images do not. That every image
is computed by one thread also makes results independent of the number of cores.
"""

import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, TypeVar

import torch

from bestie.errors import InputError
from bestie.runtime.settings import Settings
from bestie.runtime.signals import end_with_parent
from bestie.runtime.threads import in_order

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Fewer items than this for each process are not worth its start.
LEAST_ITEMS = 8
MOST_PROCESSES = 16
#: Results that wait for their turn, by process: enough to keep all busy, little enough to hold in memory.
AHEAD = 4

_work: Callable[[Any], Any] | None = None


def in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], total: int, *, device: torch.device, settings: Settings
) -> Iterator[Result]:
    """Yield `function` of each item, in order; on a CPU computed in several processes, elsewhere in this one.

    Processes are copies of this one (fork), so whatever `function` refers to is there, and changes to it stay there.

    Args:
        function: what to compute; its result has to be one that can be pickled.
        items: what to compute it of.
        total: how many items there are.
        device: where `function` computes.
        settings: the number of processes, `workers`; None: as many as torch would use threads.

    Raises:
        InputError: a process was ended from outside; and what `function` raises, at the item's turn.
    """
    if device.type != "cpu":
        yield from map(function, items)
        return
    number = _number_of_processes(settings, total)
    with _one_thread():
        if number < 2:
            yield from map(function, items)
        else:
            yield from _computed(function, items, number)


def _number_of_processes(settings: Settings, total: int) -> int:
    if sys.platform != "linux":  # elsewhere, a copy of a process that has used its frameworks is not safe
        return 1
    wanted = torch.get_num_threads() if settings.workers is None else settings.workers
    return min(wanted, MOST_PROCESSES, total // LEAST_ITEMS)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _computed(function: Callable[[Item], Result], items: Iterable[Item], number: int) -> Iterator[Result]:
    global _work
    _work = function
    with ProcessPoolExecutor(number, mp_context=get_context("fork"), initializer=_begin) as pool:
        try:
            yield from in_order(pool, _call, items, ahead=number * AHEAD)
        except BrokenProcessPool:
            raise InputError(
                "one of the processes that compute images was ended, often for want of memory. Give the machine more, "
                "or set BESTIE_WORKERS=1"
            ) from None
        finally:
            _work = None


def _begin() -> None:
    end_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)


def _call(item: Any) -> Any:
    assert _work is not None
    return _work(item)
