"""A command whose lines are shown as they come, and that ends when this process is stopped."""

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

GRACE_S = 10.0
TAIL_LINES = 12


def run_lines(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    show: Callable[[str], None],
    keep_open: Sequence[int] = (),
) -> tuple[int, list[str]]:
    """Run a command in a process group of its own, standard output and error as lines.

    When an exception leaves (Ctrl-C), the whole group is ended first.

    Args:
        show: called with each line.
        keep_open: file descriptors of locks that the command holds too, even when this process is killed.

    Returns:
        The exit status, and the last lines that are no progress.
    """
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=keep_open,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            show(line.rstrip("\r\n"))
            if line.strip() and not line.startswith('{"progress"'):
                tail.append(line.rstrip())
        return process.wait(), list(tail)
    finally:
        _end_group(process)
        process.stdout.close()


def _end_group(process: subprocess.Popen) -> None:
    """SIGTERM to the group and, after `GRACE_S`, SIGKILL; nothing where its first process has ended well."""
    if process.poll() is not None:
        return
    for number, seconds in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """SIGTERM leaves the block as Ctrl-C does."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
