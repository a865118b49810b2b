"""The version that the page compares with: the last committed run with other outputs, or one that the user names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bestie.audit.objects import Objects
from bestie.audit.versions import History, Run
from bestie.errors import InputError

#: Name of the files that are read from the other version.
METRICS = "metrics.json"


@dataclass(frozen=True)
class OtherRun:
    """The version to compare with.

    Attributes:
        run: its `dvc.lock` and commit.
        is_chosen: whether the user named it.
        metrics: path -> metrics.
        problem: why some metrics are missing; None if none are.
    """

    run: Run
    is_chosen: bool
    metrics: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None

    @property
    def revision(self) -> str:
        """The version's name as users read it."""
        return self.run.revision

    @property
    def date(self) -> str:
        """The date of its commit, as YYYY-MM-DD; empty without a commit."""
        return "" if self.run.commit is None else self.run.commit.date[:10]


@dataclass(frozen=True)
class Setting:
    """The place of the run in the history of the project.

    Attributes:
        history: the project's history; None outside of git.
        revision: the commit that is checked out; None before the first commit.
        is_committed: whether that commit records the run.
        other: the version to compare with; None if there is none.
    """

    history: History | None = None
    revision: str | None = None
    is_committed: bool = False
    other: OtherRun | None = None


def find_setting(root: Path, against: str | None = None) -> Setting:
    """Find the place of the run in the history of the project.

    Args:
        root: the folder with `dvc.lock`.
        against: a version as `History.resolve` takes it; None: the last committed run with other outputs.

    Raises:
        InputError: there is no such version, or a `dvc.lock` cannot be read. A folder outside of git is an error only
            if `against` is given.
    """
    try:
        history = History(root)
    except InputError:
        if against is None:
            return Setting()
        raise
    run = history.run_before() if against is None else _chosen(history, against)
    head, current = history.head(), history.current()
    return Setting(
        history=history,
        revision=None if head is None else head.revision,
        is_committed=head is not None and current is not None and head.lock.outs == current.lock.outs,
        other=None if run is None else _other_run(root, run, is_chosen=against is not None),
    )


def _chosen(history: History, against: str) -> Run:
    version = history.resolve(against)
    if version.commit is None:
        raise InputError(
            "The report shows the workspace: compare it with a commit, an experiment or the hash of another version. "
            "`bestie audit log` lists them."
        )
    return Run(version.lock, version.commit)


def _other_run(root: Path, run: Run, *, is_chosen: bool) -> OtherRun:
    """Return a run with its metrics, as far as the cache or a remote has them; stop at the first that is missing."""
    objects, metrics = Objects(root), {}
    for path, md5 in run.lock.outs.items():
        if Path(path).name != METRICS:
            continue
        try:
            metrics[path] = _read(objects, md5, f"{path} of {run.revision}")
        except InputError as error:
            return OtherRun(run, is_chosen, metrics, str(error))
    return OtherRun(run, is_chosen, metrics)


def _read(objects: Objects, md5: str, name: str) -> Any:
    with objects.open(md5, name=name, remedy="Run `dvc push` where it was made.") as file:
        try:
            return json.load(file)
        except ValueError as error:
            raise InputError(f"{name} is no valid JSON ({error}).") from error
