"""Progress and remaining time of a long task: a bar for users, or one JSON object per line for programs."""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TypeVar
from weakref import WeakSet

from tqdm import tqdm

from bestie.runtime.ranks import rank

T = TypeVar("T")

#: Keys of every JSON line; other keys are values of the task, such as its loss.
PROGRESS_KEYS = ("progress", "done", "total", "rate", "remaining_s")


class Progress:
    """The progress of one long task, shown on standard error; of several processes, only the first shows it.

    Args:
        description: the task in a few words.
        total: number of steps.
        done: number of steps that an earlier run completed.
        unit: what a step is called.
        as_json: whether to print JSON lines, at most two per second, instead of a bar.
    """

    def __init__(
        self, description: str, total: int, *, done: int = 0, unit: str = "step", as_json: bool = False
    ) -> None:
        self._bar = tqdm(
            desc=description,
            total=total,
            initial=done,
            unit=unit,
            file=sys.stderr,
            disable=as_json or rank() > 0,
            mininterval=0.5 if sys.stderr.isatty() else 10,
            dynamic_ncols=True,
        )
        self._json = as_json and rank() == 0
        self._description, self._total, self._done, self._first = description, total, done, done
        self._start = self._printed = time.monotonic()
        _open.add(self)

    def advance(self, count: int = 1, **values: float) -> None:
        """Count `count` more steps, and show `values` beside the rate."""
        self._done += count
        if values and not self._json:
            self._bar.set_postfix({name: f"{value:.3g}" for name, value in values.items()}, refresh=False)
        self._bar.update(count)
        now = time.monotonic()
        if self._json and (now - self._printed > 0.5 or self._done >= self._total):
            self._printed = now
            rate = (self._done - self._first) / max(now - self._start, 1e-9)
            line = {
                "progress": self._description,
                "done": self._done,
                "total": self._total,
                "rate": round(rate, 3),
                "remaining_s": round((self._total - self._done) / max(rate, 1e-9), 1),
                **{name: round(value, 5) for name, value in values.items()},
            }
            print(json.dumps(line), file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the bar's line."""
        self._bar.close()
        _open.discard(self)


def parse_progress(line: str) -> dict[str, Any] | None:
    """Return the values of a JSON line that `Progress` printed; None for any other line."""
    if not line.startswith('{"progress"'):
        return None
    try:
        values = json.loads(line)
    except json.JSONDecodeError:
        return None
    return values if isinstance(values, dict) and all(key in values for key in PROGRESS_KEYS) else None


_open: WeakSet[Progress] = WeakSet()


def close_all() -> None:
    """End the lines of all bars that an error has interrupted, so that a message starts on a new line."""
    for progress in list(_open):
        progress.close()


def track(items: Iterable[T], description: str, *, unit: str = "image", as_json: bool = False) -> Iterator[T]:
    """Yield each of `items` and show the progress."""
    progress = Progress(description, len(items) if isinstance(items, Sized) else 0, unit=unit, as_json=as_json)
    try:
        for item in items:
            yield item
            progress.advance()
    finally:
        progress.close()
