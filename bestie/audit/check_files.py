"""The check that stored files have the hashes that `dvc.lock` records."""

from collections.abc import Iterator
from pathlib import Path

from bestie.audit.findings import Finding
from bestie.audit.hashing import FOLDER_SUFFIX, list_folder, md5_listing, md5_path, md5_stream
from bestie.audit.objects import MissingObjectError
from bestie.audit.sources import Artifacts
from bestie.errors import InputError

DAMAGED = "its bytes are not those that were written (md5 {found}, not {expected})"


def check_file(artifacts: Artifacts, path: str, root: Path = Path()) -> Iterator[Finding]:
    """Hash one output of the version, a file or a folder, and yield a finding for each damaged file.

    In the workspace, the file there is hashed; for a commit, the one that the cache or a remote stores.
    """
    if artifacts.version.commit is None:
        yield from _check_workspace(artifacts, path, root)
    elif artifacts.hashes[path].endswith(FOLDER_SUFFIX):
        yield from _check_stored_folder(artifacts, path)
    else:
        yield from _check_stored(artifacts, path, artifacts.hashes[path])


def _check_workspace(artifacts: Artifacts, path: str, root: Path) -> Iterator[Finding]:
    expected = artifacts.version.lineage.files[path]
    found = md5_path(root / path)
    if found is None:
        yield Finding(path, "", "it does not exist; `dvc checkout` restores it from the cache")
    elif found != expected and found.endswith(FOLDER_SUFFIX):
        yield from _compare_folder(artifacts, path, root, expected, found)
    elif found != expected:
        yield Finding(path, "", DAMAGED.format(found=found, expected=expected))


def _compare_folder(artifacts: Artifacts, path: str, root: Path, expected: str, found: str) -> Iterator[Finding]:
    """Yield the files of a folder that differ, or the folder itself if its recorded listing is not stored."""
    try:
        wanted = artifacts.stored_listing(expected, path)
    except InputError:
        yield Finding(path, "", DAMAGED.format(found=found, expected=expected))
        return
    present = list_folder(root / path)
    for name in sorted({*wanted, *present}):
        if name not in present:
            yield Finding(path, name, "it does not exist")
        elif name not in wanted:
            yield Finding(path, name, "it was not there when the stage ended")
        elif wanted[name] != present[name]:
            yield Finding(path, name, DAMAGED.format(found=present[name], expected=wanted[name]))


def _check_stored_folder(artifacts: Artifacts, path: str) -> Iterator[Finding]:
    expected = artifacts.hashes[path]
    try:
        listing = artifacts.listing(path)
    except InputError as error:
        yield Finding(path, "", str(error))
        return
    if (found := md5_listing(listing)) != expected:
        yield Finding(path, "its listing", DAMAGED.format(found=found, expected=expected))
    for name, md5 in listing.items():
        for finding in _check_stored(artifacts, f"{path}/{name}", md5):
            yield Finding(path, name, finding.problem)


def _check_stored(artifacts: Artifacts, path: str, md5: str) -> Iterator[Finding]:
    try:
        with artifacts.stored(md5, path).open() as file:
            found = md5_stream(file)
    except MissingObjectError as error:
        yield Finding(path, "", str(error))
    else:
        if found != md5:
            yield Finding(path, "", DAMAGED.format(found=found, expected=md5))
