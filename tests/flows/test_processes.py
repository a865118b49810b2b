"""Process groups: nothing of a stage is left behind, however the run ends."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import psutil
import pytest

from bestie.runtime import process_group, process_guard
from bestie.runtime.process_group import ProcessGroup
from flows.locks import WorkspaceBusyError, workspace_lock
from tests.flows.prefect_server import eventually

#: A command with a child of its own; both are there when the line with the child's number is.
FAMILY = ["bash", "-c", "sleep 600 & echo $!; wait"]


def start(*command: str, cwd: Path = Path(), keep_open: tuple[int, ...] = ()) -> ProcessGroup:
    return ProcessGroup(command, cwd=cwd, environment=dict(os.environ), keep_open=keep_open)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_lines_of_both_outputs_arrive_in_order():
    with start("bash", "-c", "echo one; echo two >&2; echo three") as group:
        assert list(group.lines()) == ["one", "two", "three"]
        assert group.wait() == 0


def test_the_status_of_a_killed_command_is_its_signal():
    with start("bash", "-c", "kill -9 $$") as group:
        assert list(group.lines()) == []
        assert group.wait() == -signal.SIGKILL


def test_leaving_the_context_ends_the_whole_group():
    with start(*FAMILY) as group:
        child = int(next(group.lines()))
        assert alive(child)
    assert not alive(child)
    assert not alive(group.pid)


def test_children_end_with_the_command_and_do_not_hold_its_output_open():
    with start("bash", "-c", "sleep 600 & echo $!") as group:
        (child,) = map(int, group.lines())
        eventually(lambda: not alive(child), within_s=5)


def test_what_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(process_group, "GRACE_S", 0.5)
    with start("bash", "-c", "trap '' TERM; echo ready; while true; do sleep 0.1; done") as group:
        assert next(group.lines()) == "ready"
    assert not alive(group.pid)


def test_terminating_from_another_thread_ends_the_lines():
    with start(*FAMILY) as group:
        lines = group.lines()
        next(lines)
        threading.Timer(0.1, group.terminate).start()
        assert list(lines) == []
        assert group.wait() == -signal.SIGTERM


def test_a_command_that_cannot_start_leaves_no_guard():
    before = set(psutil.Process().children())
    with pytest.raises(FileNotFoundError):
        start("no-such-program")
    assert set(psutil.Process().children()) == before


def run_in_a_process(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """A process that holds the workspace's lock and runs FAMILY in a group; and the group's child."""
    code = textwrap.dedent(f"""
        import os, sys
        from pathlib import Path
        from flows.locks import workspace_lock
        from bestie.runtime.process_group import ProcessGroup
        with workspace_lock(Path(sys.argv[1]), "a run") as lock:
            with ProcessGroup({FAMILY!r}, cwd=Path(), environment=dict(os.environ), keep_open=(lock,)) as group:
                for line in group.lines():
                    print(line, flush=True)
    """)
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        return process, int(process.stdout.readline())


def test_when_the_run_is_killed_its_group_ends_and_then_the_workspace_is_free(tmp_path: Path):
    process, child = run_in_a_process(tmp_path)
    process.kill()
    process.wait()

    def locked() -> bool:
        try:
            with workspace_lock(tmp_path, "the next run"):
                return False
        except WorkspaceBusyError:
            return True

    eventually(lambda: not locked(), within_s=15, every_s=0.05)
    assert not alive(child)


def test_the_guard_leaves_a_group_alone_that_has_ended_well():
    group = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        told = subprocess.run(
            [sys.executable, process_guard.__file__, "0"], input=f"{group.pid}\ndone\n", text=True, check=True
        )
        assert told.returncode == 0
        assert group.poll() is None
    finally:
        group.kill()
        group.wait()
