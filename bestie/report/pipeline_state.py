"""The pipeline as DVC recorded it: stages, their dependencies, the hashes of their outputs, and what changed."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from bestie.artifacts.paths import PARAMS
from bestie.audit.lock import LOCK, Lock, StageRun, parse_lock, short_hash
from bestie.params.reading import read_yaml
from bestie.project.profiles import changes
from bestie.runtime.durations import Duration, read_durations

DIGITS = 8


@dataclass(frozen=True)
class Output:
    """One output of a stage: its path, the first digits of its hash, and its size in bytes (None: not recorded)."""

    path: str
    digest: str
    size: int | None


@dataclass(frozen=True)
class StageState:
    """One stage of the last run.

    Attributes:
        name: the stage's name.
        description: what the stage does.
        pool: the kind of worker that it needs, `cpu` or `gpu`.
        digest: the short hash of its outputs, as in `bestie audit`; None if `dvc.lock` has no such stage.
        outputs: the outputs that it wrote.
        duration: the duration of its last run on this machine; None if it never ran here.
        changed: one line for each difference from the version compared with.
    """

    name: str
    description: str
    pool: str
    digest: str | None
    outputs: tuple[Output, ...]
    duration: Duration | None
    changed: tuple[str, ...]


@dataclass(frozen=True)
class Pipeline:
    """Stages in an order in which they can run, and the edges (from, to) that other edges do not imply."""

    stages: tuple[StageState, ...]
    edges: tuple[tuple[str, str], ...]


def read_pipeline(root: Path, state: Path, before: Lock | None = None) -> Pipeline | None:
    """Return the pipeline of the repository at `root`, or None if it has no `dvc.yaml`.

    Args:
        root: the folder with `dvc.yaml`, `params.yaml` and `dvc.lock`; without the last, no stage has a hash.
        state: the folder with the durations, `Settings.state`.
        before: the `dvc.lock` of the version to compare with.

    Raises:
        InputError: one of the files is malformed.
    """
    if not (root / "dvc.yaml").is_file():
        return None
    values = read_yaml(root / PARAMS) if (root / PARAMS).is_file() else {}
    declared = read_yaml(root / "dvc.yaml").get("stages", {})
    path = root / LOCK
    lock = parse_lock(path.read_bytes(), str(path)) if path.is_file() else Lock()
    graph = _graph(declared, values)
    order = [*TopologicalSorter(graph).static_order()]
    order.sort(key=[*declared].index) if _is_sorted([*declared], graph) else None
    durations = read_durations(state, order)
    stages = (_stage(name, declared[name], lock, before, durations.get(name)) for name in order)
    return Pipeline(tuple(stages), tuple(_needed_edges(graph)))


def _stage(
    name: str, declared: Mapping[str, Any], lock: Lock, before: Lock | None, duration: Duration | None
) -> StageState:
    run = lock.stages.get(name, StageRun(name, "", {}, {}, {}))
    return StageState(
        name=name,
        description=str(declared.get("desc", "")),
        pool=str(declared.get("meta", {}).get("pool", "")),
        digest=short_hash(run.outs) if run.outs else None,
        outputs=tuple(Output(path, md5[:DIGITS], run.sizes.get(path)) for path, md5 in run.outs.items()),
        duration=duration,
        changed=() if before is None else tuple(_changes(before.stages.get(name), run)),
    )


def _changes(before: StageRun | None, after: StageRun) -> Iterable[str]:
    """Yield the likely causes of a change in the outputs: parameters, then code, then data."""
    if before is None:
        yield "new stage"
        return
    for key, old, new in changes(before.params, after.params):
        yield f"{key}: {old} → {new}"
    different = [path for path, md5 in after.deps.items() if before.deps.get(path) != md5]
    different += [path for path in before.deps if path not in after.deps]
    yield from sorted(different, key=lambda path: (not path.endswith(".py"), path))


def _graph(declared: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, set[str]]:
    """Return, for each stage, the stages whose outputs it reads."""
    writers = {
        path: name
        for name, stage in declared.items()
        for kind in ("outs", "metrics", "plots")
        for path in _paths(stage.get(kind, ()), values)
    }
    return {
        name: {
            writer
            for path in _paths(stage.get("deps", ()), values)
            for out, writer in writers.items()
            if writer != name and _overlap(path, out)
        }
        for name, stage in declared.items()
    }


def _paths(entries: Iterable[Any], values: Mapping[str, Any]) -> list[str]:
    """Return the paths in a list of `path` or `{path: options}`, with parameters replaced by their values."""
    named = (next(iter(entry)) if isinstance(entry, Mapping) else str(entry) for entry in entries)
    return [re.sub(r"\$\{([^}]*)\}", partial(_value_of, values), path) for path in named]


def _value_of(values: Mapping[str, Any], match: re.Match[str]) -> str:
    """Return the value of a parameter `${section.key}`; an unknown one stays as it is."""
    value: Any = values
    for key in match[1].strip().split("."):
        if not isinstance(value, Mapping) or key not in value:
            return match[0]
        value = value[key]
    return str(value)


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _is_sorted(names: Sequence[str], graph: Mapping[str, set[str]]) -> bool:
    seen: set[str] = set()
    for name in names:
        if not graph[name] <= seen:
            return False
        seen.add(name)
    return True


def _needed_edges(graph: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """Return the edges (from, to) without those that a longer path implies."""
    above: dict[str, set[str]] = {}
    for name in TopologicalSorter(graph).static_order():
        above[name] = graph[name].union(*(above[each] for each in graph[name]))
    return [
        (source, name)
        for name in graph
        for source in sorted(graph[name])
        if not any(source in above[other] for other in graph[name])
    ]
