"""The workspace of a run: the git revision that is checked out, the parameters, and the command that records a run."""

import shlex
import subprocess
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

import yaml

from bestie.errors import InputError
from bestie.project.profiles import HEADER, changes, compose, format_params, override

PARAMS = "params.yaml"
LOCK = "dvc.lock"


def git(root: Path, *arguments: str) -> str:
    """Run git in `root`; return what it prints.

    Raises:
        InputError: git failed; the message is git's own.
    """
    ended = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise InputError(f"git {' '.join(arguments)}: {ended.stderr.strip() or f'exit status {ended.returncode}'}")
    return ended.stdout.rstrip("\n")


def resolve(root: Path, revision: str) -> str:
    """Return the commit of a revision, fetched from the git remotes if this clone does not have it yet.

    Raises:
        InputError: there is no such revision.
    """
    for fetch_first in (False, True):
        if fetch_first:
            git(root, "fetch", "--quiet", "--all", "--tags")
        try:
            return git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        except InputError:
            continue
    raise InputError(f"there is no revision {revision!r} in {root} nor in its git remotes; push it, or correct it")


def changed_files(root: Path, *, but: Sequence[str] = ()) -> list[str]:
    """Return the tracked files with changes that are not committed, except those of `but`."""
    return [name for name in git(root, "diff", "--name-only", "HEAD").splitlines() if name not in but]


def checkout(root: Path, commit: str, *, replace: Sequence[str] = ()) -> None:
    """Check out a commit, detached from any branch; do nothing if it is checked out already.

    Args:
        root: the clone.
        commit: its full hash.
        replace: files whose changes are discarded.

    Raises:
        InputError: other tracked files have changes that are not committed; the message names them.
    """
    if git(root, "rev-parse", "HEAD") == commit:
        return
    if changed := changed_files(root, but=replace):
        raise InputError(
            f"{root} has changes that are not committed ({', '.join(changed[:5])}), so another revision cannot be "
            "checked out. Commit or stash them"
        )
    for name in replace:
        if git(root, "ls-files", name):
            git(root, "checkout", "--quiet", "HEAD", "--", name)
        else:
            (root / name).unlink(missing_ok=True)
    git(root, "checkout", "--quiet", "--detach", commit)


def file_at(root: Path, commit: str, name: str) -> str:
    """Return the text of a file at a commit; empty if the commit has no such file."""
    if not git(root, "ls-tree", "--name-only", commit, "--", name):
        return ""
    return git(root, "show", f"{commit}:{name}") + "\n"


def edit_params(text: str, profiles: Path, profile: str | None, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """Return the text of `params.yaml` with the parameters of a profile or of `text`, some of them overridden.

    Args:
        text: the text of `params.yaml`; may be empty.
        profiles: the folder of the profiles.
        profile: the name of a profile; None: take the parameters of the text.
        overrides: `section.key=value` texts.

    Returns:
        The new text, and what changed as "key: old -> new".

    Raises:
        InputError: there is no such profile or key, or a value is wrong.
    """
    before = yaml.safe_load(text) or {}
    if profile is None:
        header = "".join(takewhile(lambda line: line.startswith("#"), text.splitlines(keepends=True)))
        values = override(before, overrides, source=PARAMS)
    else:
        header = HEADER.format(name=profile)
        values = compose(profile, folder=profiles, overrides=overrides)
    changed = [f"{key}: {old} -> {new}" for key, old, new in changes(before, values)]
    return (header + format_params(values), changed) if changed else (text, [])


def commit_command(root: Path, message: str) -> str | None:
    """Return the command line that records this run in git; None if the last commit records it already."""
    if not git(root, "status", "--porcelain", "--", LOCK, PARAMS):
        return None
    return f"git add {LOCK} {PARAMS} && git commit -m {shlex.quote(message)}"
