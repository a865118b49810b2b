"""Versions of labels: found by revision, hash or experiment name, or in the workspace, and listed by history."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from bestie.audit.git import Commit, Git
from bestie.audit.hashing import md5_path
from bestie.audit.lock import LOCK, Lineage, Lock, StageRun, lineage, made_from, parse_lock, short_hash
from bestie.errors import InputError

WORKSPACE = "workspace"
#: The stages whose outputs are labels that a network learns from.
LABEL_STAGES = ("make_pseudo_labels", "export_mrcnn")
MIN_HASH_DIGITS = 4


@dataclass(frozen=True)
class Run:
    """What one `dvc.lock` records of all stages: at a commit, as an experiment, or in the workspace (no `commit`)."""

    lock: Lock
    commit: Commit | None = None

    @property
    def revision(self) -> str:
        """The name of the experiment, the first digits of the commit, or "workspace"."""
        if self.commit is None:
            return WORKSPACE
        return self.commit.experiment or self.commit.sha[:7]


@dataclass(frozen=True)
class Version:
    """The labels that one stage wrote, at a commit, as an experiment, or in the workspace.

    Attributes:
        stage: one of `LABEL_STAGES`.
        lock: the `dvc.lock` that records what the labels were made from.
        lineage: the stages that they were made from.
        commit: the commit or experiment; None in the workspace.
        edited: hashes, by path, of outputs in the workspace that are not those in `dvc.lock`.
    """

    stage: str
    lock: Lock
    lineage: Lineage
    commit: Commit | None = None
    edited: Mapping[str, str] = field(default_factory=dict)

    @property
    def run(self) -> StageRun:
        """The stage's entry in `dvc.lock`."""
        return self.lock.stages[self.stage]

    @property
    def outs(self) -> dict[str, str]:
        """The hashes of the stage's outputs by path."""
        return {**self.run.outs, **self.edited}

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits that stand for the content of the labels: equal labels have equal hashes."""
        return short_hash(self.outs)

    @property
    def revision(self) -> str:
        """The name of the experiment, the first digits of the commit, or "workspace"."""
        return Run(self.lock, self.commit).revision

    @property
    def files(self) -> dict[str, str]:
        """The hashes, by path, of everything that the labels were made from and that was made from them."""
        later = (run.outs for run in made_from(self.lock, self.lineage).values())
        return {**{path: md5 for outs in later for path, md5 in outs.items()}, **self.lineage.files, **self.outs}

    def __str__(self) -> str:
        return f"{self.hash} ({self.revision})"


def check_stage(name: str) -> str:
    """Return the name of a stage. Raises InputError if it does not write labels."""
    if name not in LABEL_STAGES:
        raise InputError(f"The stage '{name}' writes no labels. Take one of: {', '.join(LABEL_STAGES)}.")
    return name


class History:
    """The versions of the project in `root`, the folder with `dvc.yaml`.

    `skipped` has a message for each commit whose `dvc.lock` could not be read.

    Raises:
        InputError: on construction, if `root` is not in a git repository.
    """

    def __init__(self, root: Path = Path()) -> None:
        self.root = root
        self.skipped: list[str] = []
        self._git = Git(root)
        self._parse = lru_cache(maxsize=16)(parse_lock)

    def resolve(self, text: str, stage: str | None = None) -> Version:
        """Return the version that a user means.

        Args:
            text: "workspace", a branch, tag, commit or expression such as HEAD~1, the name of a DVC
                experiment, or the first digits (at least four) of a version's hash.
            stage: the stage that wrote the labels; None: the one that a hash belongs to, otherwise the one that writes
                the pseudo labels.

        Raises:
            InputError: no version or several match, or there are no such labels at the revision.
        """
        if stage is not None:
            check_stage(stage)
        if text == WORKSPACE:
            return self.workspace(stage or LABEL_STAGES[0])
        sha = self._git.resolve(text) or self._git.experiments().get(text)
        if sha is not None:
            return self._at_commit(text, sha, stage or LABEL_STAGES[0])
        found = self._by_hash(text, LABEL_STAGES if stage is None else (stage,))
        if len({version.hash for version in found}) > 1:
            names = ", ".join(sorted({str(version) for version in found}))
            raise InputError(f"'{text}' is the beginning of several versions: {names}. Give more digits.")
        if not found:
            raise InputError(
                f"'{text}' is no branch, tag, commit, experiment or version hash, nor 'workspace'. "
                "`bestie audit log` lists the versions."
            )
        return found[0]

    def resolve_pair(self, before: str, after: str, stage: str | None = None) -> tuple[Version, Version]:
        """Return two versions of one stage; a hash on one side decides for both. Raises InputError like `resolve`."""
        first, second = self.resolve(before, stage), self.resolve(after, stage)
        if first.stage == second.stage:
            return first, second
        # A hash belongs to one stage, a name to all of them: resolve the names again for the stage of the hash.
        other = next(version.stage for version in (first, second) if version.stage != LABEL_STAGES[0])
        return self.resolve(before, other), self.resolve(after, other)

    def workspace(self, stage: str) -> Version:
        """Return the labels in the workspace. Raises InputError if `dvc.lock` lacks the stage or cannot be read."""
        path, run = self.root / LOCK, self.current()
        if run is None:
            raise InputError(f"There is no {path}, so nothing says what the labels were made from. Run `dvc repro`.")
        lock = run.lock
        if stage not in lock.stages:
            raise InputError(f"{path} has no run of {stage}. Run `dvc repro {stage}`.")
        found = {out: md5_path(self.root / out) for out in lock.stages[stage].outs}
        edited = {out: md5 for out, md5 in found.items() if md5 is not None and md5 != lock.stages[stage].outs[out]}
        return Version(stage, lock, lineage(lock, stage), edited=edited)

    def log(self, stage: str) -> Iterator[tuple[Version, Version | None]]:
        """Yield each version with the one before it, the newest first.

        A commit or experiment is a version if its labels differ from those of the commit before it (its first parent,
        or the commit that an experiment started from). The workspace comes first if it differs from HEAD.

        Raises:
            InputError: the `dvc.lock` of the workspace cannot be read.
        """
        head = self._committed("HEAD", stage)
        current = self.current()
        workspace = None if current is None else self.of_run(current, stage)
        if workspace is not None and (head is None or workspace.hash != head.hash):
            yield workspace, head
        for commit in self._git.commits(LOCK):
            version = self._version(commit, stage)
            before = self._committed(commit.parents[0], stage) if version and commit.parents else None
            if version is not None and (before is None or before.hash != version.hash):
                yield version, before

    def current(self) -> Run | None:
        """Return what the workspace's `dvc.lock` records; None without one. Raises InputError if it cannot be read."""
        path = self.root / LOCK
        return Run(self._parse(path.read_bytes(), str(path))) if path.is_file() else None

    def head(self) -> Run | None:
        """Return what the checked-out commit records, possibly no stages; None before the first commit."""
        sha = self._git.resolve("HEAD")
        return None if sha is None else Run(self._readable_lock(sha) or Lock(), self._git.commit(sha))

    def run_before(self) -> Run | None:
        """Return the newest commit up to HEAD whose `dvc.lock` has other outputs than the workspace's.

        It is None if there is no such commit or no `dvc.lock` in the workspace. Raises InputError like `current`.
        """
        current = self.current()
        for commit in self._git.history(LOCK) if current else ():
            lock = self._readable_lock(commit.sha)
            if current and lock is not None and lock.outs != current.lock.outs:
                return Run(lock, commit)
        return None

    def of_run(self, run: Run, stage: str) -> Version | None:
        """Return the labels that a stage wrote in a run; None if the run has no such stage."""
        if stage not in run.lock.stages:
            return None
        if run.commit is None:
            return self.workspace(stage)
        return Version(stage, run.lock, lineage(run.lock, stage), run.commit)

    def names(self) -> list[str]:
        """Return the names that `resolve` takes, for completion: workspace, experiments, branches, tags and hashes."""
        commits = self._git.commits(LOCK)
        hashes = [version.hash for stage in LABEL_STAGES for version, _ in self.log(stage)]
        named = [name for commit in commits for name in commit.names]
        return list(dict.fromkeys([WORKSPACE, "HEAD", *named, *self._git.experiments(), *hashes]))

    def _by_hash(self, text: str, stages: tuple[str, ...]) -> list[Version]:
        if len(text) < MIN_HASH_DIGITS or set(text) - set("0123456789abcdef"):
            return []
        return [version for stage in stages for version, _ in self.log(stage) if version.hash.startswith(text)]

    def _at_commit(self, text: str, sha: str, stage: str) -> Version:
        commit = self._git.commit(sha)
        lock = self._lock(sha)
        if lock is None:
            raise InputError(
                f"'{text}' ({sha[:7]}) has no {LOCK}: no run was committed there. "
                "`bestie audit log` lists the versions."
            )
        if stage not in lock.stages:
            raise InputError(
                f"'{text}' ({sha[:7]}) has no run of {stage} in its {LOCK}. `bestie audit log` lists the versions."
            )
        return Version(stage, lock, lineage(lock, stage), commit)

    def _committed(self, revision: str, stage: str) -> Version | None:
        sha = self._git.resolve(revision)
        return None if sha is None else self._version(self._git.commit(sha), stage)

    def _version(self, commit: Commit, stage: str) -> Version | None:
        lock = self._readable_lock(commit.sha)
        return None if lock is None else self.of_run(Run(lock, commit), stage)

    def _readable_lock(self, sha: str) -> Lock | None:
        """Return the lock of a commit; None if there is none, or if it cannot be read, which is added to `skipped`."""
        try:
            return self._lock(sha)
        except InputError as error:
            self.skipped.append(str(error))
            return None

    def _lock(self, sha: str) -> Lock | None:
        text = next(self._git.read(LOCK, [sha]))
        return None if text is None else self._parse(text, f"{LOCK} of {sha[:7]}")
