"""Kills a process group when the process that started it dies: `python process_guard.py SECONDS`.

Started by `bestie.process_group` beside each command, in a session of its own. The first line on standard input is the
group's number. The end of the input means that the starter is gone; a line `done` before it, that all is well.
Imports the standard library alone, so that it starts in milliseconds.
"""

import os
import signal
import sys
import time


def main() -> None:
    """Wait for the end of the input; then end the group."""
    group, *rest = sys.stdin.read().split() or [""]
    if group and rest != ["done"]:
        end_group(int(group), grace_s=float(sys.argv[1]))


def end_group(group: int, *, grace_s: float) -> None:
    """SIGTERM to every process of a group and, after `grace_s` seconds, SIGKILL to those that are left."""
    if not _signal(group, signal.SIGTERM):
        return
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        if not _signal(group, 0):
            return
        time.sleep(0.05)
    _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Send a signal; False when the group has no process any more."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
