"""The run before this one: the newest commit whose `dvc.lock` has other outputs, and its metrics from DVC's cache.

Git is asked, and DVC's cache is read by the hashes in `dvc.lock`, without DVC: a report takes seconds.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bestie.params_file import LOADER

CACHE = Path(".dvc/cache/files/md5")
#: So many commits of `dvc.lock` are looked at.
MAX_COMMITS = 50


@dataclass(frozen=True)
class CommittedRun:
    """A run that git knows: the commit's short hash and date, its `dvc.lock`, and path -> metrics.

    A metrics file that the cache does not hold is absent.
    """

    revision: str
    date: str
    lock: Mapping[str, Any]
    metrics: Mapping[str, Any]


def find_run_before(root: Path) -> CommittedRun | None:
    """The last committed run with other outputs than those in the folder's `dvc.lock`; None where there is none."""
    lock = root / "dvc.lock"
    if not lock.is_file():
        return None
    current = _outputs(_parse(lock.read_text(encoding="utf-8")))
    listed = _git(root, "log", f"--max-count={MAX_COMMITS}", "--format=%h %cs", "--", "dvc.lock") or ""
    for line in listed.splitlines():
        revision, date = line.split()
        text = _git(root, "show", f"{revision}:./dvc.lock")
        found = _parse(text) if text else {}
        if found and _outputs(found) != current:
            return CommittedRun(revision, date, found, _metrics(root, found))
    return None


def head_revision(root: Path) -> str | None:
    """The short hash of the commit that is checked out; None outside of git."""
    return (_git(root, "rev-parse", "--short", "HEAD") or "").strip() or None


def _git(root: Path, *arguments: str) -> str | None:
    """What a git command prints; None where it fails, or where there is no git."""
    try:
        ended = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return ended.stdout if ended.returncode == 0 else None


def _parse(text: str) -> dict[str, Any]:
    try:
        values = yaml.load(text, Loader=LOADER)
    except yaml.YAMLError:
        return {}
    return values if isinstance(values, dict) else {}


def _outputs(lock: Mapping[str, Any]) -> dict[str, str]:
    """Path -> hash of all outputs."""
    stages = lock.get("stages", {}).values()
    return {out["path"]: out.get("md5", "") for stage in stages for out in stage.get("outs", ())}


def _metrics(root: Path, lock: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for path, digest in _outputs(lock).items():
        file = root / CACHE / digest[:2] / digest[2:]
        if path.endswith("metrics.json") and digest and file.is_file():
            found[path] = json.loads(file.read_text(encoding="utf-8"))
    return found
