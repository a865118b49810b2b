"""Outputs that are either complete or absent: write under a temporary name, sync, rename."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bestie.errors import InputError

#: After an error, a folder is removed until it stays away for so many seconds, but not more often than so many times.
LATE_S, LATE_TRIES = 0.05, 20


@contextmanager
def atomic_output(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield the path `.<name>.partial` beside `path`, and rename it to `path` when the block ends without an error.

    The block writes a file or a folder at the yielded path. If an exception interrupts it, what it wrote is removed;
    what a killed run left behind is removed when the same output is next started. The final name never shows an
    incomplete output: a file is replaced in one step, and a folder is moved aside first (a kill in between leaves the
    final name absent, never half written). Only a folder replaces a folder.

    Args:
        path: the final name.
        durable: whether to wait until everything is on the disk, so that a power failure does no more harm than a kill.

    Raises:
        InputError: a folder above `path` is a file, or the block wrote a file and `path` is a folder.
        ValueError: the block ended without writing anything.
    """
    partial = path.with_name(f".{path.name}.partial")
    replaced = path.with_name(f".{path.name}.replaced")
    make_folder(path.parent)
    _remove(partial)
    _remove(replaced)
    try:
        yield partial
        if not partial.exists():
            raise ValueError(f"nothing was written to {partial}, the temporary name of {path}")
        if durable:
            _sync(partial)
        _publish(partial, path, replaced, durable=durable)
    except BaseException:
        _discard(partial)
        raise


def as_file(path: Path) -> Path:
    """Return the path that a user names for a file.

    Raises:
        InputError: the path is a folder, or one above it is a file.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder. Name the file to write.")
    check_folder(path.parent)
    return path


def make_folder(path: Path) -> Path:
    """Create a folder, and those above it, unless they exist, and return its path.

    Raises:
        InputError: one of them is a file.
    """
    check_folder(path)
    path.mkdir(parents=True, exist_ok=True)
    return path


def check_folder(path: Path) -> None:
    """Raise InputError if a path, or one above it, exists and is not a folder."""
    for each in (path, *path.parents):
        if os.path.lexists(each) and not each.is_dir():
            raise InputError(f"{each} is no folder, so nothing can lie below it. Choose another path.")


def _publish(partial: Path, path: Path, replaced: Path, *, durable: bool) -> None:
    if not _is_folder(partial):
        as_file(path)
    elif os.path.lexists(path):
        path.rename(replaced)  # rename(2) does not let a folder replace a file or a folder that is not empty
    partial.replace(path)
    if durable:
        _sync_folder(path.parent)
    _remove(replaced)


def _sync(path: Path) -> None:
    if not _is_folder(path):
        _sync_file(path)
        return
    for folder, _, names in os.walk(path):
        for name in names:
            _sync_file(Path(folder, name))
        _sync_folder(Path(folder))


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove(path: Path) -> None:
    if _is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _discard(path: Path) -> None:
    """Remove what a block wrote that ended in an error.

    Zarr writes the files of an array in threads. When one of them fails, the others go on, and would make the folder
    anew after it was removed.
    """
    if not _is_folder(path):
        _remove(path)
        return
    for _ in range(LATE_TRIES):
        shutil.rmtree(path, ignore_errors=True)
        time.sleep(LATE_S)
        if not path.exists():
            return
