"""Kill a process group when the process that started it dies: `python process_guard.py SECONDS`.

`bestie.runtime.process_group` starts this program beside each command, in a session of its own. The first line on
standard input is the id of the group. The end of the input means that the starter is gone, unless a line `done` comes
before it. Only the standard library is imported, so that the program starts in milliseconds.
"""

import os
import signal
import sys
import time


def main() -> None:
    """Wait for the end of the input; then end the group unless `done` was read."""
    group, *rest = sys.stdin.read().split() or [""]
    if group and rest != ["done"]:
        end_group(int(group), grace_s=float(sys.argv[1]))


def end_group(group: int, *, grace_s: float) -> None:
    """Send SIGTERM to every process of a group and, after `grace_s` seconds, SIGKILL to those that are left."""
    if not _signal(group, signal.SIGTERM):
        return
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline:
        if not _signal(group, 0):
            return
        time.sleep(0.05)
    _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Send a signal; return False if the group has no processes left."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
