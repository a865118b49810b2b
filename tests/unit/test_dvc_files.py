"""A killed DVC leaves neither half a file nor a lock; see `bestie/dvc_files.py`."""

import json
import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest
from dvc.fs import localfs
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.rwlock import rwlock
from dvc.utils.serialize import dump_yaml, load_yaml

from bestie.dvc_files import is_held

DEAD_PID = 2**22  # Linux gives no such number


def python(code: str, folder: Path) -> int:
    """Run code in a new Python of this environment; returns its status."""
    return subprocess.run([sys.executable, "-c", code], cwd=folder, check=False, capture_output=True).returncode


def test_a_copy_of_this_package_in_the_working_directory_is_the_one_in_use(tmp_path: Path):
    (tmp_path / "bestie").mkdir()
    (tmp_path / "bestie" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "bestie" / "own.py").write_text("", encoding="utf-8")
    assert python("import bestie.own", tmp_path) == 0


def locking(folder: Path) -> AbstractContextManager[None]:
    """A lock to write `x`, as a stage with this output takes it."""
    return rwlock(str(folder), localfs, "dvc repro --force", [], [str(folder / "x")], False)


def write_lock(folder: Path, mode: str, pid: int, command: str) -> None:
    """Another process holds `x`."""
    taken = {"pid": pid, "cmd": command}
    held = {mode: {str(folder / "x"): [taken] if mode == "read" else taken}}
    (folder / "rwlock").write_text(json.dumps(held), encoding="utf-8")


def test_python_loads_it_as_it_starts(tmp_path: Path):
    loaded = "import sys; sys.exit('PatchFinder' not in [type(each).__name__ for each in sys.meta_path])"
    assert python(loaded, tmp_path) == 0, "run `make install`"


@pytest.mark.parametrize(("module", "frozen"), [("dvc.cli", True), ("dvc.lock", False)])
def test_a_command_of_dvc_ends_at_once(tmp_path: Path, module: str, frozen: bool):
    first = "import atexit, gc, os; atexit.register(lambda: os._exit(gc.get_freeze_count() > 0))"  # asked last
    assert python(f"{first}; import {module}", tmp_path) == frozen


def test_a_lock_file_that_was_being_written_by_a_killed_run_is_the_one_before(tmp_path: Path):
    lock = tmp_path / "dvc.lock"
    lock.write_text("stages: {}\n", encoding="utf-8")
    code = """if True:
        import os, signal
        from dvc.dvcfile import modify_yaml
        from ruamel.yaml import RoundTripRepresenter
        class Kill:
            pass
        RoundTripRepresenter.add_representer(Kill, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        with modify_yaml("dvc.lock") as data:
            data["stages"]["last"] = Kill()
    """
    assert python(code, tmp_path) == -signal.SIGKILL
    assert lock.read_text(encoding="utf-8") == "stages: {}\n"
    dump_yaml(str(lock), {"stages": {"next": 1}})
    assert load_yaml(str(lock)) == {"stages": {"next": 1}}
    assert list(tmp_path.iterdir()) == [lock]


def test_the_file_of_locks_that_was_being_written_by_a_killed_run_is_the_one_before(tmp_path: Path):
    write_lock(tmp_path, "write", DEAD_PID, "dvc repro")
    before = (tmp_path / "rwlock").read_bytes()
    code = """if True:
        import os, signal
        from dvc.fs import localfs
        from dvc.rwlock import _edit_rwlock
        class Kill(dict):
            def items(self):
                os.kill(os.getpid(), signal.SIGKILL)
        with _edit_rwlock(os.getcwd(), localfs, False) as lock:
            lock["write"]["/y"] = Kill(pid=1)
    """
    assert python(code, tmp_path) == -signal.SIGKILL
    assert (tmp_path / "rwlock").read_bytes() == before
    with locking(tmp_path):
        assert str(os.getpid()) in (tmp_path / "rwlock").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ['{"write": {"/x": {"pi', ""])
def test_half_a_file_of_locks_is_no_lock(tmp_path: Path, text: str):
    (tmp_path / "rwlock").write_text(text, encoding="utf-8")
    with locking(tmp_path):
        pass


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_lock_whose_number_another_process_has_is_none(tmp_path: Path, mode: str):
    for number, pid in enumerate((os.getppid(), os.getpid(), DEAD_PID)):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_lock(folder, mode, pid, "/bin/dvc repro --force")
        with locking(folder), locking(folder):
            pass


def test_a_lock_of_a_process_that_runs_holds_until_it_is_killed(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", "input()", "repro", "--force"], stdin=subprocess.PIPE) as holder:
        taken = {"pid": holder.pid, "cmd": "/bin/dvc repro --force"}
        assert is_held(taken, first=True)
        write_lock(tmp_path, "write", pid=taken["pid"], command=taken["cmd"])
        with pytest.raises(LockError, match="is busy"), locking(tmp_path):
            pass
        holder.kill()
        while psutil.Process(holder.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert not is_held(taken, first=False)  # though nobody has asked for its status
        with locking(tmp_path):
            pass


def test_a_link_stays_a_link(tmp_path: Path):
    (tmp_path / "elsewhere").write_text("{}", encoding="utf-8")
    (tmp_path / "elsewhere").chmod(0o640)
    (tmp_path / "dvc.lock").symlink_to("elsewhere")
    dump_yaml(str(tmp_path / "dvc.lock"), {"stages": {}})
    assert (tmp_path / "dvc.lock").is_symlink()
    assert (tmp_path / "elsewhere").stat().st_mode & 0o777 == 0o640
    assert load_yaml(str(tmp_path / "elsewhere")) == {"stages": {}}


def test_dvc_runs_where_a_restart_left_its_locks(tmp_path: Path):
    def dvc(*arguments: str) -> None:
        ended = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments], cwd=tmp_path, check=False, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr

    (tmp_path / "dvc.yaml").write_text("stages: {make: {cmd: touch x, outs: [x]}}\n", encoding="utf-8")
    dvc("init", "--no-scm", "--quiet")
    write_lock(tmp_path, "write", os.getpid(), "/bin/dvc repro --other")
    (tmp_path / "rwlock").rename(tmp_path / ".dvc/tmp/rwlock")
    dvc("repro")
    assert (tmp_path / "x").exists()


@pytest.mark.parametrize("left", [None, "tmp.aZ3", ".tmp.aZ3.part"])
def test_a_run_that_was_being_kept_by_a_killed_dvc_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str | None
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {copy: {cmd: cp in out, deps: [in], outs: [out]}}\n", encoding="utf-8")
    (tmp_path / "in").write_text("1", encoding="utf-8")
    with Repo.init(no_scm=True) as repo:
        repo.reproduce()
        (entry,) = (tmp_path / ".dvc/cache/runs").glob("*/*/*")
        whole = entry.read_text(encoding="utf-8")
        entry.unlink()
        if left is not None:  # all but the outputs: what a kill left of the file
            entry.with_name(left).write_text(whole[: whole.index("outs:")], encoding="utf-8")
        (tmp_path / "dvc.lock").unlink()
        (tmp_path / "out").unlink()
        assert [stage.name for stage in repo.reproduce()] == ["copy"]
    assert (tmp_path / "out").read_text(encoding="utf-8") == "1"
