"""The workspace of a run: a git revision checked out, its parameters written, and how to record what came out."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from bestie.errors import InputError
from bestie.params_file import read_yaml
from bestie.profiles import changes, compose, override, write_params

PARAMS = "params.yaml"
LOCK = "dvc.lock"


def git(root: Path, *arguments: str) -> str:
    """Run git in `root`; returns what it prints. Raises InputError with git's own message."""
    ended = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise InputError(f"git {' '.join(arguments)}: {ended.stderr.strip() or f'exit status {ended.returncode}'}")
    return ended.stdout.rstrip("\n")


def resolve(root: Path, revision: str) -> str:
    """The commit that a revision means, fetched from the remotes where this clone does not have it yet.

    Raises:
        InputError: there is no such revision.
    """
    for attempt in ("here", "fetched"):
        if attempt == "fetched":
            git(root, "fetch", "--quiet", "--all", "--tags")
        try:
            return git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        except InputError:
            continue
    raise InputError(f"there is no revision {revision!r} in {root} nor in its git remotes; push it, or correct it")


def checkout(root: Path, commit: str, *, replace: Sequence[str] = ()) -> None:
    """Check a commit out, off any branch. Nothing happens when it is checked out already.

    Args:
        root: the clone.
        commit: its full hash.
        replace: files whose changes are given up.

    Raises:
        InputError: other tracked files have changes that are not committed; the message names them.
    """
    for name in replace:
        tracked = git(root, "ls-files", name)
        git(root, "checkout", "--quiet", "HEAD", "--", name) if tracked else (root / name).unlink(missing_ok=True)
    if git(root, "rev-parse", "HEAD") == commit:
        return
    if changed := git(root, "diff", "--name-only", "HEAD").split():
        raise InputError(
            f"{root} has changes that are not committed ({', '.join(changed[:5])}), so another revision cannot be "
            "checked out. Commit or stash them"
        )
    git(root, "checkout", "--quiet", "--detach", commit)


def set_params(root: Path, profile: str | None, overrides: Sequence[str]) -> list[str]:
    """Write `params.yaml` from a profile, or from what it holds, and `section.key=value` texts.

    Returns:
        What changed, as "key: old -> new".

    Raises:
        InputError: no such profile, no such key, or a wrong value; nothing is written then.
    """
    path = root / PARAMS
    before = read_yaml(path) if profile is None or path.exists() else {}
    if profile is None:
        values = override(before, overrides, source=str(path))
    else:
        values = compose(profile, folder=root / "profiles", overrides=overrides)
    changed = [f"{key}: {old} -> {new}" for key, old, new in changes(before, values)]
    if changed:
        write_params(path, profile, values)
    return changed


def commit_command(root: Path, message: str) -> str | None:
    """The one line that records this run in git; None when the last commit records it already."""
    changed = git(root, "status", "--porcelain", "--", LOCK, PARAMS)
    if not changed:
        return None
    return f"git add {LOCK} {PARAMS} && git commit -m '{message}'"
