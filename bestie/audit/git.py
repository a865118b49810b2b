"""What the audit asks git: which commits changed a file, which commit a name means, what a file held at a commit."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bestie.errors import InputError

EXPERIMENTS = "refs/exps/"
FIELDS = ("%H", "%P", "%an", "%aI", "%s", "%D")


@dataclass(frozen=True)
class Commit:
    """One commit; `names` are the branches and tags that point to it, `experiment` is the name of a DVC experiment."""

    sha: str
    parents: tuple[str, ...]
    author: str
    date: str
    subject: str
    names: tuple[str, ...]
    experiment: str | None


class Git:
    """A git repository, read with the `git` command.

    Args:
        folder: any folder in the repository.

    Raises:
        InputError: on construction, if `folder` is not in a repository, git refuses it (a clone of another owner), or
            `git` is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        ended = self._command("rev-parse", "--git-dir")
        if "not a git repository" in ended.stderr:
            raise InputError(f"{folder.resolve()} is in no git repository. Run this in a clone of the project.")
        if ended.returncode:
            raise InputError(f"git cannot be used in {folder.resolve()}: {' '.join(ended.stderr.split())}")

    def resolve(self, name: str) -> str | None:
        """Return the commit that a branch, tag, hash or expression such as HEAD~1 means; None if there is none."""
        if name.startswith("-"):
            return None
        found = self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        return found.strip() if found else None

    def experiments(self) -> dict[str, str]:
        """Return the commit of each DVC experiment by its name; the latest one if a name occurs several times."""
        listed = self._run("for-each-ref", "--sort=creatordate", "--format=%(objectname) %(refname)", EXPERIMENTS)
        found = {}
        for line in (listed or "").splitlines():
            sha, reference = line.split(" ", 1)
            # refs/exps/<2 digits>/<38 digits of the baseline>/<name>; other forms are for DVC's internal use.
            parts = reference.removeprefix(EXPERIMENTS).split("/", 2)
            if len(parts) == 3 and len(parts[0] + parts[1]) == 40:
                found[parts[2]] = sha
        return found

    def commits(self, path: str) -> list[Commit]:
        """Return every commit that changed `path`, on any branch or tag or as a DVC experiment, the newest first."""
        if self.resolve("HEAD") is None:
            return []
        experiments = {sha: name for name, sha in self.experiments().items()}
        return self._log("HEAD", "--branches", "--tags", "--remotes", *experiments, path=path, experiments=experiments)

    def history(self, path: str) -> list[Commit]:
        """Return the commits up to HEAD that changed `path`, the newest first."""
        return [] if self.resolve("HEAD") is None else self._log("HEAD", path=path, experiments={})

    def commit(self, sha: str) -> Commit:
        """Return the commit with a hash."""
        experiments = {each: name for name, each in self.experiments().items()}
        return self._log("--no-walk", sha, path=None, experiments=experiments)[0]

    def read(self, path: str, shas: Sequence[str]) -> Iterator[bytes | None]:
        """Yield the content of a file at each of some commits; None if it did not exist there."""
        # "./" makes the path relative to the folder that the command runs in.
        asked = "".join(f"{sha}:./{path}\n" for sha in shas)
        answer = subprocess.run(
            ["git", "cat-file", "--batch"], cwd=self._folder, input=asked.encode(), capture_output=True, check=True
        ).stdout
        place = 0
        for _ in shas:
            end = answer.index(b"\n", place)
            header, place = answer[place:end], end + 1
            if header.endswith(b" missing"):
                yield None
                continue
            size = int(header.rsplit(b" ", 1)[1])
            yield answer[place : place + size]
            place += size + 1

    def _log(self, *what: str, path: str | None, experiments: dict[str, str]) -> list[Commit]:
        form = "--format=" + "%x00".join(FIELDS) + "%x01"
        limit = [] if path is None else ["--full-history", "--", path]
        listed = self._run("log", "--date-order", form, "--decorate-refs-exclude=refs/exps", *what, *limit) or ""
        commits = []
        for entry in filter(None, (each.strip("\n") for each in listed.split("\x01"))):
            sha, parents, author, date, subject, names = entry.split("\x00")
            commits.append(
                Commit(
                    sha=sha,
                    parents=tuple(parents.split()),
                    author=author,
                    date=date,
                    subject=subject,
                    names=_names(names),
                    experiment=experiments.get(sha),
                )
            )
        return commits

    def _run(self, *arguments: str) -> str | None:
        """Return what a git command prints; None if it fails. Raises InputError if `git` is not installed."""
        ended = self._command(*arguments)
        return ended.stdout if ended.returncode == 0 else None

    def _command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        in_english = {**os.environ, "LC_ALL": "C"}
        try:
            return subprocess.run(
                ["git", *arguments], cwd=self._folder, env=in_english, capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            raise InputError("There is no `git` on the path. Install git.") from None


def _names(decoration: str) -> tuple[str, ...]:
    """Return the branches and tags in a decoration of git such as "HEAD -> main, tag: v1, origin/main"."""
    parts = decoration.split(", ") if decoration else []
    names = [part.removeprefix("HEAD -> ").removeprefix("tag: ") for part in parts]
    return tuple(name for name in names if name != "HEAD" and not name.endswith("/HEAD"))
