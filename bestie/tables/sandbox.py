"""A separate folder for the runs of tables: the project's code, data and DVC cache, but its own parameters.

The user's workspace is not touched. Both share one DVC cache, so results of one are found in the other.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from bestie.artifacts.paths import GENERATED_ROOT, OWN_MAPS, PARAMS
from bestie.audit.lock import LOCK
from bestie.errors import InputError
from bestie.params.reading import read_yaml
from bestie.project.profiles import write_params
from bestie.project.repair import repair
from bestie.tables.lines_of_processes import run_lines

CODE = ("bestie", "stages")
COPIED = ("dvc.yaml", ".dvcignore")
DVC = ("-m", "dvc")
#: The largest number of `..` at the start of a path that leads out of the repository; the folder is nested as deep.
DEPTH = 4
#: Parameters that name files or folders.
PATHS = (
    ("dataset", "root"),
    ("import_wsss", "source"),
    *((stage, "backbone", "weights") for stage in ("train_pam", "train_wsss", "train_bestie", "train_mrcnn")),
    *((stage, "trained") for stage in ("train_pam", "train_bestie")),
)
DVC_CONFIG = """\
[core]
    analytics = false
    no_scm = true
[cache]
    dir = {cache}
"""


class Workspace:
    """The folder as a context manager, which only one process can hold at a time.

    Args:
        root: the repository.
        base: a folder for this workspace only; it is created if necessary, and kept.
        show: called with each line that a stage prints.

    Raises:
        InputError: on entering, if another process holds the folder or `root` is not a DVC repository.
    """

    def __init__(self, root: Path, base: Path, *, show: Callable[[str], None]) -> None:
        self._root = root.resolve()
        self._base = base.resolve()
        self.folder = self._base.joinpath(*["up"] * (DEPTH - 1), "workspace")
        self._show = show

    def __enter__(self) -> "Workspace":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self._base / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise InputError(f"{self._base} is in use by another run of these tables; wait for it") from None
        try:
            self._copy()
            for line in repair(self.folder):
                self._show(line)
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    def set_params(self, name: str, params: Mapping[str, Any]) -> None:
        """Write `params.yaml`, and link the files and folders that it names.

        Raises:
            InputError: a path leads too far out of the repository.
        """
        for path in _paths(params):
            self._link(path)
        write_params(self.folder / PARAMS, name, params)

    def repro(self, *stages: str, single: bool = False) -> None:
        """Run `dvc repro` for some stages and all stages before them.

        Args:
            stages: the names of the stages.
            single: run only these stages, on the inputs that exist.

        Raises:
            InputError: a stage failed; the message has its last lines.
        """
        self.run(*DVC, "repro", *(["--single-item"] if single else []), *stages)

    def run(self, *arguments: str) -> None:
        """Run Python with `arguments` in the workspace.

        Raises:
            InputError: it failed; the message has its last lines.
        """
        status, tail = run_lines(
            (sys.executable, *arguments),
            cwd=self.folder,
            environment=self._environment(),
            show=self._show,
            keep_open=(self._lock.fileno(),),
        )
        if status:
            raise InputError("\n".join(tail) or f"{' '.join(arguments)} ended with status {status}")

    def lock_entry(self, stage: str) -> Any:
        """Return the entry of a stage in `dvc.lock`: parameters and hashes."""
        return read_yaml(self.folder / LOCK)["stages"][stage]

    def _copy(self) -> None:
        """Copy the code as it is now, so that all tables of a page come from one version of it."""
        for name in CODE:
            shutil.rmtree(self.folder / name, ignore_errors=True)
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(self._root / name, self.folder / name, ignore=ignored)
        for name in COPIED:
            if (self._root / name).is_file():
                shutil.copy2(self._root / name, self.folder / name)
        if not (self.folder / LOCK).exists() and (self._root / LOCK).is_file():
            shutil.copy2(self._root / LOCK, self.folder / LOCK)
        (self.folder / ".dvc").mkdir(exist_ok=True)
        config = DVC_CONFIG.format(cache=cache_folder(self._root))
        (self.folder / ".dvc" / "config").write_text(config, encoding="utf-8")

    def _link(self, path: Path) -> None:
        """Make a path valid here that is relative to the repository, in it or outside of it."""
        here = Path(os.path.normpath(self.folder / path))
        there = self._root / path
        if not here.is_relative_to(self._base):
            raise InputError(f"{path} leads out of the repository by more than {DEPTH} folders; give it in full")
        if here.exists() or not there.exists():
            return
        here.unlink(missing_ok=True)
        here.parent.mkdir(parents=True, exist_ok=True)
        here.symlink_to(there.resolve())

    def _environment(self) -> dict[str, str]:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": str(self.folder),
            "DVC_NO_ANALYTICS": "1",
            "BESTIE_STATE": str(self.folder / ".bestie"),
            "BESTIE_PROGRESS": "json",
        }
        if weights := os.environ.get("BESTIE_WEIGHTS"):
            environment["BESTIE_WEIGHTS"] = str(self._root / weights)
        return environment


def cache_folder(root: Path) -> Path:
    """Return the folder in which DVC caches the outputs of a repository.

    Raises:
        InputError: `root` is not a DVC repository.
    """
    ended = subprocess.run(
        [sys.executable, *DVC, "cache", "dir"], cwd=root, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise InputError(f"{root} is no DVC repository ({ended.stderr.strip()}); run this in a clone of the project")
    return Path(root, ended.stdout.strip())


def _paths(params: Mapping[str, Any]) -> list[Path]:
    """Return the relative paths in `params` that are not outputs of a stage."""
    found = []
    for keys in PATHS:
        value: Any = params
        for key in keys:
            value = value[key]
        path = Path(value or "/")
        if not path.is_absolute() and not path.is_relative_to(GENERATED_ROOT) and path != OWN_MAPS:
            found.append(path)
    return found
