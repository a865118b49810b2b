"""Commands whose output is shown line by line while they run."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bestie.runtime.process_group import ProcessGroup
from bestie.runtime.progress import parse_progress

TAIL_LINES = 12


def run_lines(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    show: Callable[[str], None],
    keep_open: Sequence[int] = (),
) -> tuple[int, list[str]]:
    """Run a command in a `ProcessGroup`, and show each line of standard output and standard error.

    If an exception is raised (Ctrl-C), the whole group is ended first.

    Args:
        command: the program and its arguments.
        cwd: the folder to run it in.
        environment: its environment variables.
        show: called with each line.
        keep_open: file descriptors of locks that are held until the group has ended.

    Returns:
        The exit status, and the last lines that are not progress.
    """
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with ProcessGroup(command, cwd=cwd, environment=environment, keep_open=keep_open) as group:
        for line in group.lines():
            show(line)
            if line.strip() and parse_progress(line) is None:
                tail.append(line.rstrip())
        return group.wait(), list(tail)
