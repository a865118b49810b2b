"""A command whose lines are shown as they come."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bestie.process_group import ProcessGroup
from bestie.progress import parse_progress

TAIL_LINES = 12


def run_lines(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    show: Callable[[str], None],
    keep_open: Sequence[int] = (),
) -> tuple[int, list[str]]:
    """Run a command in a `ProcessGroup`, standard output and error as lines.

    When an exception leaves (Ctrl-C), the whole group is ended first.

    Args:
        show: called with each line.
        keep_open: file descriptors of locks that are held until the group has ended.

    Returns:
        The exit status, and the last lines that are no progress.
    """
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with ProcessGroup(command, cwd=cwd, environment=environment, keep_open=keep_open) as group:
        for line in group.lines():
            show(line)
            if line.strip() and parse_progress(line) is None:
                tail.append(line.rstrip())
        return group.wait(), list(tail)
