"""Work on many files at once: reading and decoding leave Python's lock, so threads use every core."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Results that wait for their turn, by thread: enough to keep all threads busy, little enough to hold in memory.
AHEAD = 8


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield `function` of each item, in order, computed in as many threads as there are cores.

    Raises what `function` raises, at the item's turn; what has not begun by then is not computed.
    """
    threads = cores()
    with ThreadPoolExecutor(threads) as pool:
        yield from in_order(pool, function, items, ahead=threads * AHEAD)


def in_order(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], *, ahead: int
) -> Iterator[Result]:
    """Yield `function` of each item, in order, computed by `pool`, of which at most `ahead` results are waiting.

    Raises what `function` raises, at the item's turn; what has not begun by then is not computed.
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
