"""Why two versions differ: the changes of parameters, code and data between their `dvc.lock` files."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from bestie.audit.lock import Lineage, StageRun, is_code
from bestie.audit.versions import Version


class Kind(StrEnum):
    """What kind of thing changed."""

    PARAMETER = "parameter"
    CODE = "code"
    DATA = "data"
    COMMAND = "command"
    STAGE = "stage"
    EDITED = "edited"
    UNEXPLAINED = "unexplained"
    UNRECORDED = "unrecorded"


@dataclass(frozen=True)
class Cause:
    """One change between two versions.

    Attributes:
        kind: what kind of thing changed.
        name: the full key of a parameter, the path of code or data, or the name of a stage.
        before: the parameter's value or the path's hash in the older version; None if it had none.
        after: the same in the newer version.
        stages: the stages that the change reached; if it changed the outputs of some of them, only those.
        effective: whether it changed the outputs of any stage; otherwise it does not explain a difference.
    """

    kind: Kind
    name: str
    before: Any
    after: Any
    stages: tuple[str, ...]
    effective: bool

    def __str__(self) -> str:
        match self.kind:
            case Kind.PARAMETER:
                return f"{self.name}: {_value(self.before)} -> {_value(self.after)}"
            case Kind.CODE | Kind.DATA:
                how = "is new" if self.before is None else "is gone" if self.after is None else "changed"
                return f"{self.kind}: {self.name} {how} (read by {', '.join(self.stages)})"
            case Kind.COMMAND:
                return f"command of {self.name}: {self.before} -> {self.after}"
            case Kind.STAGE:
                return f"stage {self.name} is {'new' if self.before is None else 'gone'}"
            case Kind.EDITED:
                return f"{self.name} in the workspace is not what dvc.lock says: run `dvc repro`, or `dvc commit`"
            case Kind.UNEXPLAINED:
                return (
                    f"{self.name} wrote something else from the same code, data and parameters: "
                    "another machine, other libraries, other settings or weights"
                )
            case Kind.UNRECORDED:
                return f"{self.name} ran again since, so that dvc.lock no longer says what it had read"


def find_causes(before: Version, after: Version) -> list[Cause]:
    """Return every change of parameters, code and data between two versions, the effective ones first."""
    old, new = before.lineage, after.lineage
    found = [cause for stage in _stages(old, new) for cause in _stage_causes(old, new, stage)]
    merged = _without_parents(_merge(found))
    if not any(cause.effective for cause in merged):
        merged += [
            Cause(Kind.UNRECORDED, stage, None, None, (stage,), True)
            for stage in dict.fromkeys((*old.unrecorded, *new.unrecorded))
        ]
    edited = [*before.edited.items(), *after.edited.items()]
    merged += [Cause(Kind.EDITED, path, None, md5, (after.stage,), True) for path, md5 in edited]
    return sorted(merged, key=lambda cause: not cause.effective)


def _stages(old: Lineage, new: Lineage) -> Iterable[str]:
    return dict.fromkeys((*old.stages, *new.stages))


def _stage_causes(old: Lineage, new: Lineage, stage: str) -> Iterator[Cause]:
    first, second = old.stages.get(stage), new.stages.get(stage)
    if first is None or second is None:
        if stage not in (*old.unrecorded, *new.unrecorded):
            names = (stage if first else None, stage if second else None)
            yield Cause(Kind.STAGE, stage, *names, (stage,), True)
        return
    effective = _differs(first, second, old, new)
    own = list(_own_changes(first, second, old, new))
    for kind, name, values in own:
        yield Cause(kind, name, *values, (stage,), effective)
    passed_on = any(first.deps.get(path) != second.deps.get(path) for path in {*first.deps, *second.deps})
    if effective and not own and not passed_on:
        yield Cause(Kind.UNEXPLAINED, stage, None, None, (stage,), True)


def _own_changes(
    first: StageRun, second: StageRun, old: Lineage, new: Lineage
) -> Iterator[tuple[Kind, str, tuple[Any, Any]]]:
    """Yield the changes of a stage itself, without those of other stages' outputs that it read."""
    if first.command != second.command:
        yield Kind.COMMAND, first.name, (first.command, second.command)
    for key, values in _changes(first.params, second.params):
        yield Kind.PARAMETER, key, values
    made = {path for lineage in (old, new) for run in lineage.stages.values() for path in run.outs}
    for path, values in _changes(first.deps, second.deps):
        if is_code(path):
            yield Kind.CODE, path, values
        elif path not in made:
            yield Kind.DATA, path, values


def _differs(first: StageRun, second: StageRun, old: Lineage, new: Lineage) -> bool:
    """Return whether a stage wrote different outputs that a later stage reads, or different labels."""
    read = {path for lineage in (old, new) for run in lineage.stages.values() for path in run.deps}
    last = first.name == list(old.stages)[-1]
    outs = {*first.outs, *second.outs}
    return any(first.outs.get(path) != second.outs.get(path) for path in (outs if last else outs & read))


def _changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for key in dict.fromkeys((*first, *second)):
        if first.get(key) != second.get(key) or (key in first) != (key in second):
            yield key, (first.get(key), second.get(key))


def _merge(causes: Iterable[Cause]) -> list[Cause]:
    """Combine the causes that are one change that reached several stages."""
    merged: dict[tuple[Kind, str], Cause] = {}
    for cause in causes:
        known = merged.get((cause.kind, cause.name), cause)
        if known.effective == cause.effective and known is not cause:
            merged[cause.kind, cause.name] = replace(known, stages=(*known.stages, *cause.stages))
        elif not known.effective or known is cause:
            merged[cause.kind, cause.name] = cause
    return list(merged.values())


def _without_parents(causes: list[Cause]) -> list[Cause]:
    """Return the causes without the folders of code if one of their files is a cause too."""
    code = [cause.name for cause in causes if cause.kind is Kind.CODE]
    return [
        cause
        for cause in causes
        if cause.kind is not Kind.CODE or not any(name.startswith(f"{cause.name}/") for name in code)
    ]


def _value(value: Any) -> str:
    return "(none)" if value is None else str(value)
