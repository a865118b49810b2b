"""One run at a time in one workspace."""

import subprocess
import sys
from pathlib import Path

import pytest

from flows.locks import WorkspaceBusyError, waiting_in, workspace_lock


def test_a_second_run_is_refused_with_the_name_of_the_first(tmp_path: Path):
    with (
        workspace_lock(tmp_path, "pipeline run 'first'"),
        pytest.raises(WorkspaceBusyError, match=r"is in use by pipeline run 'first' \(process \d+, since .*--wait"),
        workspace_lock(tmp_path, "pipeline run 'second'"),
    ):
        pass


def test_the_workspace_is_free_again_after_a_run(tmp_path: Path):
    for _ in range(2):
        with workspace_lock(tmp_path, "a run"):
            pass


def test_a_run_that_waits_starts_when_the_first_has_ended_and_says_once_for_whom_it_waits(tmp_path: Path):
    holder = hold(tmp_path)
    said: list[str] = []
    looks = iter([None, None, holder.kill])

    def check() -> None:
        act = next(looks)
        if act:
            act()
            holder.wait()

    with workspace_lock(tmp_path, "second", wait=waiting_in(check, said.append)):
        assert said == [said[0]]
        assert "waiting for first" in said[0]


def test_a_run_that_waits_can_give_up(tmp_path: Path):
    def cancelled() -> None:
        raise KeyboardInterrupt

    with (
        workspace_lock(tmp_path, "first"),
        pytest.raises(KeyboardInterrupt),
        workspace_lock(tmp_path, "second", wait=waiting_in(cancelled, print)),
    ):
        pass


def test_the_lock_of_a_killed_run_is_free(tmp_path: Path):
    holder = hold(tmp_path)
    with pytest.raises(WorkspaceBusyError), workspace_lock(tmp_path, "second"):
        pass
    holder.kill()
    holder.wait()
    with workspace_lock(tmp_path, "second"):
        pass


def hold(folder: Path) -> subprocess.Popen[str]:
    """A process that holds the lock of a folder until it is killed."""
    code = """
import sys, time
from pathlib import Path
from flows.locks import workspace_lock
with workspace_lock(Path(sys.argv[1]), "first"):
    print("held", flush=True)
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "held\n"
    return process
