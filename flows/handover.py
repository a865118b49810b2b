"""Hand folders from one run to another through the DVC remote, by their hashes.

`python -m flows.handover push FOLDER` puts a folder into this clone's cache and into the remote, and prints its hash.
Another run gets it with `python -m flows.handover pull HASH FOLDER`, which takes any number of such pairs. Files that
the cache or the remote already has, such as shards of a stage that ran before, are not sent again.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dvc.fs import LocalFileSystem
from dvc.repo import Repo
from dvc_data.hashfile import load
from dvc_data.hashfile.build import build
from dvc_data.hashfile.checkout import CheckoutError, checkout
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.transfer import transfer

from bestie.errors import InputError


def push(root: Path, folder: Path) -> str:
    """Send a folder to the default remote of the clone in `root`; return its hash.

    Raises:
        InputError: there is no such folder, or the remote did not accept all of it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder that could be handed over")
    with Repo(str(root)) as repo:
        cache = repo.cache.local
        staging, _, staged = build(cache, str(folder), LocalFileSystem(), cache.hash_name)
        transfer(staging, cache, {staged.hash_info}, shallow=False)
        sent = repo.cloud.push({staged.hash_info, *_files(staged)})
        if sent.failed:
            raise InputError(f"the DVC remote did not take {len(sent.failed)} files of {folder}")
        return str(staged.hash_info.value)


def pull(root: Path, folders: Mapping[Path, str]) -> None:
    """Get folders by their hashes from the default remote of the clone in `root`.

    Raises:
        InputError: the remote does not have all of a folder.
    """
    with Repo(str(root)) as repo:
        cache = repo.cache.local
        wanted = {folder: HashInfo(cache.hash_name, name) for folder, name in folders.items()}
        repo.cloud.pull(wanted.values())
        for folder, info in wanted.items():
            try:
                found = load(cache, info)
                repo.cloud.pull(_files(found))
                checkout(str(folder), LocalFileSystem(), found, cache, force=True)
            except (FileNotFoundError, CheckoutError) as error:
                raise InputError(f"the DVC remote does not have all of {info.value} for {folder} ({error})") from error


def _files(folder: Any) -> set[HashInfo]:
    """Return the hashes of the files in a folder: DVC does not transfer them together with the folder's own."""
    return {info for _, _, info in folder}


def main(action: str, *arguments: str) -> None:
    """Run `push` or `pull`, as the docstring of the module says."""
    if action == "push":
        print(push(Path.cwd(), Path(arguments[0]).absolute()))
    else:
        pull(Path.cwd(), {Path(folder).absolute(): name for name, folder in zip(*[iter(arguments)] * 2, strict=True)})


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except InputError as error:
        raise SystemExit(f"flows.handover: {error}") from None
