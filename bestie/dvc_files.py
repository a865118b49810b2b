"""DVC writes its own files whole, and forgets the locks of processes that are gone.

`dvc.lock` and `.dvc/tmp/rwlock` are truncated by DVC 3 and then written for up to a second: a kill in between leaves
half a file, which the next `dvc repro` refuses until somebody mends it. The same is true of the folder of a run in
DVC's cache that was made, but not yet filled. A lock also counts as held when its process
was killed and another one has its number since, as after a restart of the machine. `bestie_dvc.pth`, installed beside
this package, imports this module whenever Python starts in the environment; it waits for DVC's modules and costs
nothing where they are not imported.
"""

import atexit
import gc
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

_RUN_HASH = re.compile("[0-9a-f]{64}")


class PatchFinder:
    """Finds the modules of `patches` as Python does, and patches each after it was executed."""

    def __init__(self, patches: dict[str, Callable[[Any], None]]) -> None:
        self.patches = patches

    def find_spec(self, name: str, path: Any, _target: ModuleType | None = None) -> ModuleSpec | None:
        """The specification of a module with a patch; None for all others."""
        patch = self.patches.get(name)
        spec = PathFinder.find_spec(name, path) if patch else None
        if spec is None or spec.loader is None or patch is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_patch(module: ModuleType) -> None:
            execute(module)
            patch(module)

        spec.loader.exec_module = execute_and_patch  # type: ignore[method-assign]
        return spec


def leave_no_copy() -> None:
    """Forget this package after Python's start: of several copies a process uses that of its working directory.

    An experiment in a folder of its own, or another clone with the same environment, would run this copy's code else.
    """
    for name in [each for each in sys.modules if each.partition(".")[0] == "bestie"]:
        del sys.modules[name]


def write_whole(serialize: Any) -> None:
    """`dvc.utils.serialize._common`: YAML, JSON and TOML are written beside their file, synced and renamed."""
    dump = serialize._dump_data

    def dump_whole(path: Any, data: Any, dumper: Any, fs: Any = None, **options: Any) -> None:
        if not _is_local(fs):
            dump(path, data, dumper, fs=fs, **options)
            return
        with _replacing(os.fspath(path)) as partial:
            dump(partial, data, dumper, fs=fs, **options)

    serialize._dump_data = dump_whole


def forget_the_dead(rwlock: Any) -> None:
    """`dvc.rwlock`: its file is written whole, and who is gone holds no lock."""
    edit = rwlock._edit_rwlock
    edited: set[tuple[int, str]] = set()

    @contextmanager
    def edit_whole(lock_dir: str, fs: Any, hardlink: bool) -> Iterator[dict[str, Any]]:
        first = (os.getpid(), lock_dir) not in edited
        edited.add((os.getpid(), lock_dir))
        with edit(lock_dir, _WholeFiles(fs) if _is_local(fs) else fs, hardlink) as lock:
            for path, readers in list(lock["read"].items()):
                readers[:] = [info for info in readers if is_held(info, first)]
                if not readers:
                    del lock["read"][path]
            for path, writer in list(lock["write"].items()):
                if not is_held(writer, first):
                    del lock["write"][path]
            yield lock

    rwlock._edit_rwlock = edit_whole


def pass_by_unfinished_runs(cache: Any) -> None:
    """`dvc.stage.cache`: in the folder of a stage's runs only whole entries count, and there may be none."""

    def load(self: Any, stage: Any) -> dict[str, Any] | None:
        key = cache._get_stage_hash(stage)
        folder = Path(self._get_cache_dir(key)) if key else None
        if folder is None or not folder.is_dir():
            return None
        entries = [path for path in folder.iterdir() if _RUN_HASH.fullmatch(path.name)]
        newest = max(entries, key=lambda path: path.stat().st_mtime, default=None)
        return self._load_cache(key, newest.name) if newest else None

    cache.StageCache._load = load


def is_held(info: dict[str, Any], first: bool) -> bool:
    """Whether the process that took a lock still runs.

    Args:
        info: its number, "pid", and its command, "cmd": the arguments that Python had, joined by spaces. Another
            process may have the number since; it is told by the words of its command.
        first: this process has not locked anything yet; what has its number is from before.
    """
    import psutil

    if info["pid"] == os.getpid():
        return not first
    try:
        running = " ".join(psutil.Process(info["pid"]).cmdline()).split()
    except psutil.NoSuchProcess:  # a zombie, too
        return False
    except psutil.AccessDenied:
        return True
    return set(info["cmd"].split()[1:]) <= set(running)  # `python -m dvc` differs in the first


class _WholeFiles:
    """A local file system of DVC whose text files are replaced in one step; half a JSON file is not there.

    They are not synced: no process that holds a lock outlives a loss of power.
    """

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fs, name)

    @contextmanager
    def open(self, path: str, mode: str = "r", **options: Any) -> Iterator[Any]:
        import json

        if mode == "r":
            with self._fs.open(path, mode, **options) as file:
                try:
                    json.loads(file.read())
                except ValueError:
                    raise FileNotFoundError(path) from None
                file.seek(0)
                yield file
        else:
            with _replacing(path, durable=False) as partial, self._fs.open(partial, mode, **options) as file:
                yield file


@contextmanager
def _replacing(name: str, *, durable: bool = True) -> Iterator[str]:
    """The name of a file that takes the place of another when the block ends well; see `atomic_output`."""
    from bestie.artifacts.atomic import atomic_output

    path = Path(name).resolve()  # of a link, the file that it leads to
    with atomic_output(path, durable=durable) as partial:
        yield str(partial)
        with suppress(FileNotFoundError):
            partial.chmod(path.stat().st_mode)


def _is_local(fs: Any) -> bool:
    return fs is None or getattr(fs, "protocol", None) == "local"


def end_at_once(_cli: Any) -> None:
    """`dvc.cli`: its process does not take its objects apart at its end, 7 % of a `dvc repro` with nothing to do."""
    atexit.register(gc.freeze)


PATCHES = {
    "dvc.cli": end_at_once,
    "dvc.utils.serialize._common": write_whole,
    "dvc.rwlock": forget_the_dead,
    "dvc.stage.cache": pass_by_unfinished_runs,
}
sys.meta_path.insert(0, PatchFinder(PATCHES))
