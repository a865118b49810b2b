"""One run at a time in a workspace: a lock that the kernel releases when its holder dies."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from bestie.errors import InputError

LOCK = Path(".bestie") / "workspace.lock"
POLL_S = 1.0


class WorkspaceBusyError(InputError):
    """Another run uses the workspace; the message names it."""


@contextmanager
def workspace_lock(root: Path, owner: str, *, wait: Callable[[str], None] | None = None) -> Iterator[int]:
    """Lock the workspace in `root` for `owner`; yield the lock's file descriptor.

    A process that inherits the descriptor holds the lock, too: the workspace stays locked until the last of these
    processes has ended.

    Args:
        root: the folder with `dvc.yaml`.
        owner: what other runs are told when they find the workspace in use.
        wait: called with the holder's name every second until the lock is free; may raise to give up. None: the lock is
            refused at once.

    Raises:
        WorkspaceBusyError: another run holds the lock, and `wait` is None.
    """
    path = root / LOCK
    path.parent.mkdir(exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while not try_lock(descriptor):
            holder = path.read_text(encoding="utf-8").strip() or "a run that is just starting"
            if wait is None:
                raise WorkspaceBusyError(
                    f"{root} is in use by {holder}. Wait for it, cancel it, or start this run with --wait."
                )
            wait(holder)
            time.sleep(POLL_S)
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{owner} (process {os.getpid()}, since {since})\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def waiting_in(check: Callable[[], None], log: Callable[[str], None]) -> Callable[[str], None]:
    """Return a `wait` for `workspace_lock` that logs each holder once and calls `check`, which may raise to give up."""
    told: set[str] = set()

    def wait(holder: str) -> None:
        check()
        if holder not in told:
            log(f"waiting for {holder}")
            told.add(holder)

    return wait


def try_lock(descriptor: int) -> bool:
    """Lock an open file until every copy of its descriptor is closed; return False if it is already locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
