"""Repair of DVC's own files after an unlucky kill: a truncated `dvc.lock`, locks of dead processes, empty run folders.

DVC 3 truncates `dvc.lock` and its table of locks before it writes them, considers a lock held if any process now has
the id of the one that took it, and fails on a run folder that it created but did not fill. `repair` mends what such a
kill leaves behind. It does not touch what the stages wrote: DVC's run cache restores that.
"""

import fcntl
import json
import re
import time
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

from bestie.artifacts.atomic import atomic_output
from bestie.audit.git import Git
from bestie.audit.lock import LOCK
from bestie.errors import InputError

#: DVC's table of locks, and the files that it locks while it writes that table or `dvc.lock`.
LOCK_TABLE = Path(".dvc", "tmp", "rwlock")
GUARDS = (Path(".dvc", "tmp", "lock"), Path(".dvc", "tmp", "rwlock.lock"))
#: Seconds to wait for another DVC process to release the guards.
PATIENCE_S = 5.0
#: A run folder that changed in the last so many seconds may be one that another clone is filling in a shared cache.
STILL_S = 2.0
_RUN = re.compile("[0-9a-f]{64}")

Entries = dict[str, Any]


def repair(root: Path = Path()) -> list[str]:
    """Repair DVC's files in a project. This is safe at any time: while DVC writes them, it waits or does nothing.

    Args:
        root: the folder with `dvc.yaml`.

    Returns:
        What was done, one sentence each; empty if nothing was wrong.

    Raises:
        InputError: the folder is not a DVC repository.
    """
    if not (root / ".dvc").is_dir():
        raise InputError(f"{root.resolve()} has no folder .dvc. Run this in a clone of the project.")
    with _guarded(root) as free:
        if not free:
            return ["DVC is at work here, so nothing was looked at. Run this again when it has ended."]
        return [*_repair_lock_table(root), *_repair_lock_file(root), *_remove_unfinished_runs(root)]


def is_held(info: Mapping[str, Any]) -> bool:
    """Return whether the process that took a lock is still running.

    Args:
        info: its id, "pid", and its command, "cmd": the words of its command line, joined by spaces. Another process
            may have the id by now, but with another command.
    """
    try:
        running = " ".join(psutil.Process(int(info["pid"])).cmdline()).split()
    except psutil.NoSuchProcess:  # or a zombie
        return False
    except psutil.AccessDenied:
        return True
    return set(str(info["cmd"]).split()[1:]) <= set(running)  # `python -m dvc` differs in the first word


@contextmanager
def _guarded(root: Path) -> Iterator[bool]:
    """Hold DVC's guards during the block; yield False if another process keeps one of them."""
    deadline = time.monotonic() + PATIENCE_S
    with ExitStack() as held:
        for guard in GUARDS:
            if not (root / guard.parent).is_dir():
                continue
            file = held.enter_context((root / guard).open("a"))
            while not _locked(file.fileno()):
                if time.monotonic() > deadline:
                    yield False
                    return
                time.sleep(0.1)
        yield True


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _repair_lock_table(root: Path) -> list[str]:
    """Drop the locks of processes that are gone; remove a table that cannot be read."""
    path = root / LOCK_TABLE
    if not path.is_file():
        return []
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        read = {name: [info for info in infos if is_held(info)] for name, infos in table.get("read", {}).items()}
        write = {name: info for name, info in table.get("write", {}).items() if is_held(info)}
    except (ValueError, TypeError, KeyError, AttributeError):
        path.unlink()
        return [f"Removed {LOCK_TABLE}, DVC's table of locks: it could not be read."]
    kept = {"write": write, "read": {name: infos for name, infos in read.items() if infos}}
    dropped = _count(table) - _count(kept)
    if not dropped:
        return []
    with atomic_output(path, durable=False) as partial:
        partial.write_text(json.dumps(kept), encoding="utf-8")
    return [f"Dropped {dropped} lock{'s' * (dropped > 1)} of processes that are gone from {LOCK_TABLE}."]


def _count(table: Mapping[str, Any]) -> int:
    return len(table.get("write", {})) + sum(len(infos) for infos in table.get("read", {}).values())


def _repair_lock_file(root: Path) -> list[str]:
    """Restore a `dvc.lock` that cannot be read: keep complete entries and take the others from the last commit."""
    path = root / LOCK
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    if _stages(text) is not None:
        return []
    if re.search(r"^(<<<<<<<|>>>>>>>)", text, re.MULTILINE):
        return [f"Left {LOCK} as it is: it holds conflicts of a merge. Resolve them with git."]
    whole, committed = _whole_stages(text), _committed_stages(root)
    merged = {**{name: entry for name, entry in committed.items() if name not in whole}, **whole}
    target = path.resolve()  # if it is a link, the file that it points to
    if not merged:
        target.unlink()
        return [f"Removed {LOCK}: nothing in it was whole. `dvc repro` finds finished stages in its run cache."]
    with atomic_output(target) as partial:
        partial.write_text(yaml.safe_dump({"schema": "2.0", "stages": merged}, sort_keys=False), encoding="utf-8")
    from_git = [name for name in merged if name not in whole]
    parts = [f"{', '.join(whole)} from the file itself"] if whole else []
    parts += [f"{', '.join(from_git)} from the last commit"] if from_git else []
    return [f"Restored {LOCK}, which could not be read: {'; '.join(parts)}."]


def _stages(text: str) -> Entries | None:
    """Return the entries of a `dvc.lock` by stage; None if DVC would refuse it."""
    from dvc.exceptions import DvcException
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.strictyaml import validate

    try:
        return dict(validate(yaml.safe_load(text), COMPILED_LOCKFILE_SCHEMA)["stages"])
    except (yaml.YAMLError, DvcException, KeyError, ValueError):
        return None


def _whole_stages(text: str) -> Entries:
    """Return the entries of a truncated file except the last one, which may be incomplete."""
    starts = [found.start() for found in re.finditer(r"^  \w[\w@.-]*:[ ]*$", text, re.MULTILINE)]
    return (_stages(text[: starts[-1]]) if len(starts) > 1 else None) or {}


def _committed_stages(root: Path) -> Entries:
    """Return the entries of `dvc.lock` at HEAD; empty if there are none."""
    with suppress(InputError):
        git = Git(root)
        head = git.resolve("HEAD")
        text = next(git.read(LOCK, [head])) if head else None
        return _stages(text.decode("utf-8", errors="replace")) or {} if text else {}
    return {}


def _remove_unfinished_runs(root: Path) -> list[str]:
    """Remove the folders of DVC's run cache that hold no run."""
    removed = 0
    for folder in sorted((_cache_folder(root) / "runs").glob("*/*")):
        if not _is_unfinished(folder):
            continue
        time.sleep(max(0.0, STILL_S - (time.time() - folder.stat().st_mtime)))
        if _is_unfinished(folder):
            for leftover in folder.iterdir():
                leftover.unlink()
            folder.rmdir()
            removed += 1
    return [f"Removed {removed} unfinished run folder{'s' * (removed > 1)} from DVC's run cache."] if removed else []


def _is_unfinished(folder: Path) -> bool:
    return folder.is_dir() and not any(_RUN.fullmatch(each.name) for each in folder.iterdir())


def _cache_folder(root: Path) -> Path:
    """Return the folder of the project's DVC cache, found without DVC, which takes a second to load."""
    config = ConfigParser(interpolation=None)
    with suppress(Exception):  # DVC itself reports what is wrong with its configuration
        config.read([root / ".dvc" / "config", root / ".dvc" / "config.local"])
    return root / ".dvc" / config.get("cache", "dir", fallback="cache").strip("'\"")
