"""`bestie repair`: what a killed DVC left is repaired, and nothing else is touched."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from dvc.fs import localfs
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.rwlock import rwlock
from dvc.schema import COMPILED_LOCKFILE_SCHEMA

from bestie.errors import InputError
from bestie.project import repair as module
from bestie.project.repair import is_held, repair
from tests.stored_run import git

DEAD_PID = 2**22  # Linux gives no such number
DVC_YAML = {
    "stages": {
        "first": {"cmd": "cp in middle", "deps": ["in"], "outs": ["middle"]},
        "second": {"cmd": "cp middle out", "deps": ["middle"], "outs": ["out"]},
    }
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC project of two stages that have run; `dvc.lock` is committed. Nobody may change it: take `project`."""
    folder = tmp_path_factory.mktemp("made") / "project"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(yaml.safe_dump(DVC_YAML), encoding="utf-8")
    (folder / "in").write_text("1", encoding="utf-8")
    git(folder, "init", "--quiet")
    with chdir(folder), Repo.init() as repo:
        repo.reproduce()
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "a run")
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `made` as the working directory, to change."""
    folder = tmp_path / "project"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    monkeypatch.setattr(module, "STILL_S", 0.0)
    return folder


def reproduced() -> list[str]:
    """The stages that a `dvc repro` touches; an error of DVC fails the test."""
    with Repo() as repo:
        return [stage.name for stage in repo.reproduce()]


def lock_text() -> str:
    return Path("dvc.lock").read_text(encoding="utf-8")


def python(code: str, folder: Path) -> int:
    """Run code in a new Python of this environment; returns its status."""
    return subprocess.run([sys.executable, "-c", code], cwd=folder, check=False, capture_output=True).returncode


def test_a_sound_project_is_left_as_it_is(project: Path):
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    assert repair(project) == []
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


def test_a_lock_file_cut_at_any_byte_lets_dvc_run_again(project: Path):
    whole = lock_text()
    for end in range(len(whole)):
        Path("dvc.lock").write_text(whole[:end], encoding="utf-8")
        repair(project)
        stages = COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(lock_text()))["stages"]  # what DVC refuses raises
        assert set(stages) <= {"first", "second"}
        assert all(entry["cmd"] for entry in stages.values())
    Path("dvc.lock").write_text(whole[: whole.index("second")], encoding="utf-8")
    assert repair(project) == []  # nothing tells that an entry is missing
    assert reproduced() == ["second"]


def test_whole_entries_are_kept_and_the_rest_comes_from_the_last_commit(project: Path):
    committed = yaml.safe_load(lock_text())["stages"]
    (project / "in").write_text("2", encoding="utf-8")
    assert reproduced() == ["first", "second"]
    now = yaml.safe_load(lock_text())["stages"]
    Path("dvc.lock").write_text(lock_text()[:-30] + "\n  - : [", encoding="utf-8")
    (said,) = repair(project)
    assert (
        said == "Restored dvc.lock, which could not be read: first from the file itself; second from the last commit."
    )
    assert yaml.safe_load(lock_text())["stages"] == {"first": now["first"], "second": committed["second"]}
    assert reproduced() == ["second"]
    assert (project / "out").read_text(encoding="utf-8") == "2"


def test_without_a_commit_the_file_goes_and_stages_come_from_the_run_cache(project: Path):
    git(project, "update-ref", "-d", "HEAD")
    Path("dvc.lock").write_text("schema: '2.0'\nstages:\n  fir", encoding="utf-8")
    (said,) = repair(project)
    assert said.startswith("Removed dvc.lock: nothing in it was whole.")
    (project / "out").unlink()
    assert reproduced() == ["first", "second"]
    assert (project / "out").read_text(encoding="utf-8") == "1"


def test_conflicts_of_a_merge_are_left_to_git(project: Path):
    text = lock_text().replace("  second:", "<<<<<<< HEAD\n  second:")
    Path("dvc.lock").write_text(text, encoding="utf-8")
    assert "conflicts of a merge" in repair(project)[0]
    assert lock_text() == text


def test_a_link_stays_a_link(project: Path):
    Path("dvc.lock").rename("elsewhere")
    Path("dvc.lock").symlink_to("elsewhere")
    Path("elsewhere").write_text("", encoding="utf-8")
    repair(project)
    assert Path("dvc.lock").is_symlink()
    assert reproduced() == []


def test_a_dvc_that_is_killed_while_it_writes_its_lock_is_repaired(project: Path):
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
    assert python(code, project) == -signal.SIGKILL
    assert "Restored dvc.lock" in repair(project)[0]
    assert reproduced() == []


def hold(mode: str, pid: int, command: str) -> None:
    """Write that another process holds `out`."""
    taken: Any = {"pid": pid, "cmd": command}
    table = {mode: {str(Path("out").resolve()): [taken] if mode == "read" else taken}}
    Path(".dvc/tmp/rwlock").write_text(json.dumps(table), encoding="utf-8")


def locking():
    """A lock to write `out`, as a stage with this output takes it."""
    return rwlock(str(Path(".dvc/tmp").resolve()), localfs, "dvc repro", [], [str(Path("out").resolve())], False)


@pytest.mark.parametrize("mode", ["read", "write"])
@pytest.mark.parametrize("pid", [os.getpid(), os.getppid(), DEAD_PID], ids=["own", "parent", "dead"])
def test_a_lock_of_a_process_that_is_gone_is_dropped(project: Path, mode: str, pid: int):
    hold(mode, pid, "/bin/dvc repro --other")
    assert repair(project) == ["Dropped 1 lock of processes that are gone from .dvc/tmp/rwlock."]
    with locking():
        pass


@pytest.mark.parametrize("text", ['{"write": {"/x": {"pi', "", "[]", '{"write": {"/x": 3}}'])
def test_a_table_of_locks_that_cannot_be_read_is_removed(project: Path, text: str):
    Path(".dvc/tmp/rwlock").write_text(text, encoding="utf-8")
    assert "it could not be read" in repair(project)[0]
    with locking():
        pass


def test_a_lock_of_a_process_that_runs_stays_until_it_is_killed(project: Path):
    with subprocess.Popen([sys.executable, "-c", "input()", "repro", "--force"], stdin=subprocess.PIPE) as holder:
        hold("write", holder.pid, "/bin/dvc repro --force")
        assert is_held({"pid": holder.pid, "cmd": "/bin/dvc repro --force"})
        assert repair(project) == []
        with pytest.raises(LockError, match="is busy"), locking():
            pass
        holder.kill()
        while psutil.Process(holder.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert "Dropped 1 lock" in repair(project)[0]  # though nobody has asked for its status
        with locking():
            pass


@pytest.mark.parametrize("guard", ["lock", "rwlock.lock"])
def test_while_dvc_is_at_work_nothing_is_touched(project: Path, guard: str):
    Path("dvc.lock").write_text("half", encoding="utf-8")
    with (project / ".dvc/tmp" / guard).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert repair(project) == ["DVC is at work here, so nothing was looked at. Run this again when it has ended."]
    assert lock_text() == "half"
    assert "Restored dvc.lock" in repair(project)[0]


@pytest.mark.parametrize("left", [None, "tmp.aZ3", ".tmp.aZ3.part"])
def test_a_run_that_was_being_kept_is_removed(project: Path, left: str | None):
    entries = list((project / ".dvc/cache/runs").glob("*/*/*"))
    for entry in entries:
        entry.unlink()
        if left is not None:
            entry.with_name(left).write_text("cmd: cp", encoding="utf-8")
    assert repair(project) == ["Removed 2 unfinished run folders from DVC's run cache."]
    Path("dvc.lock").unlink()
    (project / "out").unlink()
    assert reproduced() == ["first", "second"]
    assert (project / "out").read_text(encoding="utf-8") == "1"


def test_a_cache_in_another_place_is_looked_at(project: Path):
    (project / ".dvc" / "config.local").write_text("[cache]\n    dir = ../elsewhere\n", encoding="utf-8")
    (project / "elsewhere/runs/ab/abcd").mkdir(parents=True)
    assert "Removed 1 unfinished run folder " in repair(project)[0]


def test_a_folder_without_dvc_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"has no folder \.dvc\. Run this in a clone of the project"):
        repair(tmp_path)
