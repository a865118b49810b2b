"""`dvc.lock`: the command and parameters that each stage ran with, and the hashes of what it read and wrote."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from bestie.errors import InputError

LOCK = "dvc.lock"
CODE = ("bestie/", "stages/")

# The parser in C, if PyYAML was built with it, takes half the time.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class StageRun:
    """One stage: `deps` and `outs` are MD5 hashes by path; those of folders end in ".dir".

    `params` has the full keys of `params.yaml` ("train_pam.epochs"); lists are values. `sizes` has the size of each
    output in bytes, if it is recorded.
    """

    name: str
    command: str
    params: Mapping[str, Any]
    deps: Mapping[str, str]
    outs: Mapping[str, str]
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Lock:
    """The stages of one `dvc.lock` by name."""

    stages: Mapping[str, StageRun] = field(default_factory=dict)

    @property
    def outs(self) -> dict[str, str]:
        """The hashes of all outputs by path."""
        return {path: md5 for run in self.stages.values() for path, md5 in run.outs.items()}

    def producer(self, path: str) -> StageRun | None:
        """Return the stage that writes a file, or the folder that holds it; None if there is none."""
        for run in self.stages.values():
            if path in run.outs or any(path.startswith(f"{out}/") for out in run.outs):
                return run
        return None


@dataclass(frozen=True)
class Lineage:
    """A stage and the stages whose outputs it was made from, itself last.

    `files` has the hash of everything that they read and wrote, by path. A stage that has run again since, so that its
    outputs are no longer those that were read, is not among them: `unrecorded` has its name, because what it had read
    before is not recorded anywhere.
    """

    stages: Mapping[str, StageRun] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    unrecorded: tuple[str, ...] = ()


def short_hash(outs: Mapping[str, str]) -> str:
    """Return eight hexadecimal digits that stand for outputs (hashes by path)."""
    return hashlib.sha256("\n".join(f"{path} {outs[path]}" for path in sorted(outs)).encode()).hexdigest()[:8]


def is_code(path: str) -> bool:
    """Return whether a dependency is the project's own code."""
    return path.startswith(CODE)


def parse_lock(text: bytes, source: str) -> Lock:
    """Read a `dvc.lock`. Raises InputError, which names `source`, if it is malformed or of an unknown format."""
    try:
        stages = yaml.load(text, _Loader)["stages"]
        return Lock({name: _stage_run(name, entry) for name, entry in stages.items()})
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise InputError(
            f"{source} is no dvc.lock of DVC 2 or 3 ({reason}). Restore it with git, or delete it and run `dvc repro`."
        ) from error


def lineage(lock: Lock, stage: str) -> Lineage:
    """Return what `stage` was made from, as far as the lock records it. Raises KeyError if the lock lacks the stage."""
    stages: dict[str, StageRun] = {}
    files: dict[str, str] = {}
    unrecorded: list[str] = []

    def visit(run: StageRun) -> None:
        if run.name in stages:
            return
        for path, md5 in run.deps.items():
            producer = lock.producer(path)
            if producer is None or is_code(path):
                continue
            if producer.outs.get(path) == md5:
                visit(producer)
            elif producer.name not in unrecorded:
                unrecorded.append(producer.name)
        stages[run.name] = run

    visit(lock.stages[stage])
    for run in stages.values():
        files |= run.outs
    for run in stages.values():
        files |= run.deps
    return Lineage(stages, files, tuple(unrecorded))


def made_from(lock: Lock, origin: Lineage) -> dict[str, StageRun]:
    """Return the later stages whose inputs all are in `origin` or were made from it by another such stage."""
    files = dict(origin.files)
    found: dict[str, StageRun] = {}
    waiting = [run for name, run in lock.stages.items() if name not in origin.stages]
    while ready := [run for run in waiting if _reads_only(run, files, lock)]:
        for run in ready:
            found[run.name] = run
            files |= run.outs
            waiting.remove(run)
    return found


def _reads_only(run: StageRun, files: Mapping[str, str], lock: Lock) -> bool:
    own = {path: md5 for path, md5 in run.deps.items() if not is_code(path) and lock.producer(path) is not None}
    return bool(own) and all(files.get(path) == md5 for path, md5 in own.items())


def _stage_run(name: str, entry: Mapping[str, Any]) -> StageRun:
    params: dict[str, Any] = {}
    for values in entry.get("params", {}).values():
        params |= _flat(values)
    return StageRun(
        name=name,
        command=_command(entry["cmd"]),
        params=params,
        deps=_hashes(entry.get("deps", ())),
        outs=_hashes(entry.get("outs", ())),
        sizes={out["path"]: out["size"] for out in entry.get("outs", ()) if "size" in out},
    )


def _command(value: str | Iterable[str]) -> str:
    return value if isinstance(value, str) else " && ".join(value)


def _hashes(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {entry["path"]: str(entry.get("md5", entry.get("etag", ""))) for entry in entries}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with the keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
