"""Files by their hash, from DVC's cache or otherwise from a remote; the only module of the audit that imports DVC."""

from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from bestie.audit.hashing import parse_listing
from bestie.errors import InputError

CACHE = Path(".dvc", "cache", "files", "md5")


class MissingObjectError(InputError):
    """Neither the cache nor a remote has the file with a hash."""


class Objects:
    """The files that DVC stores for the project at `root`.

    The usual folder of the cache is searched without DVC, which takes a second to load; DVC finds the other places.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, md5: str, *, name: str, remedy: str) -> BinaryIO:
        """Open the file with a hash for reading its bytes.

        Args:
            md5: the hash.
            name: what messages call the file.
            remedy: what to do if it is not stored, as a sentence.

        Raises:
            MissingObjectError: it is not stored; the message says where it was searched for, and ends in `remedy`.
            InputError: the cache or a remote cannot be read.
        """
        cached = self._root / CACHE / md5[:2] / md5[2:]
        if cached.is_file():
            return cached.open("rb")
        looked = []
        for place, database in self._databases:
            try:
                path = database.oid_to_path(md5)
                if database.fs.isfile(path):
                    return database.fs.open(path, "rb")
            except Exception as error:  # each kind of remote has errors of its own
                raise InputError(
                    f"{place} cannot be read ({error}). Correct it with `dvc remote` or `dvc config`."
                ) from error
            looked.append(place)
        raise MissingObjectError(f"{name} (md5 {md5}) is not in {' or '.join(looked)}. {remedy}")

    def listing(self, md5: str, *, name: str, remedy: str) -> dict[str, str]:
        """Return the hashes of a folder's files by relative path. Raises InputError like `open`, or if damaged."""
        with self.open(md5, name=name, remedy=remedy) as file:
            try:
                return parse_listing(file.read())
            except ValueError as error:
                raise InputError(f"The listing of {name} (md5 {md5}) is damaged. {remedy}") from error

    @cached_property
    def _databases(self) -> list[tuple[str, Any]]:
        """The cache as DVC finds it, and every remote, the default one first."""
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        try:
            repo = Repo(str(self._root))
            default = repo.config["core"].get("remote")
            remotes = sorted(repo.config["remote"], key=lambda name: name != default)
            found: list[tuple[str, Any]] = [("the cache", repo.cache.local)]
            return found + [(f"the remote '{name}'", repo.cloud.get_remote_odb(name)) for name in remotes]
        except DvcException as error:
            raise InputError(f"DVC cannot open {self._root.resolve()} ({error}). Correct its configuration.") from error
