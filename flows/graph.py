"""The pipeline as DVC sees it: stages, what they read from each other, where they run, whether they are up to date."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.reproduce import plan_repro
from dvc.stage import PipelineStage

from bestie.errors import InputError

POOLS = ("cpu", "gpu")
#: DVC polls for its own lock only twice a second; this one saves the threads of this process that wait.
_checking = threading.Lock()


@dataclass(frozen=True)
class Stage:
    """One stage of `dvc.yaml`.

    Attributes:
        name: as in `dvc.yaml`.
        description: its `desc`.
        pool: its `meta.pool`, the kind of worker that runs it.
        shards: its `meta.shards`: whether it writes image after image, so that several workers can share it.
        upstream: the stages whose outputs it reads.
        inputs: the outputs of other stages that it reads, as paths relative to the root.
    """

    name: str
    description: str
    pool: str
    shards: bool
    upstream: tuple[str, ...]
    inputs: tuple[str, ...]


Graph = dict[str, Stage]


def load_graph(root: Path, revision: str | None = None) -> Graph:
    """Return the stages of the project in `root`, now or at a git revision, each after those that it reads from.

    Raises:
        InputError: DVC cannot read the project, or a stage names no pool.
    """
    try:
        with Repo(str(root), rev=revision) as repo:
            edges = repo.index.graph
            return {stage.name: _stage(stage, list(edges.successors(stage))) for stage in plan_repro(edges)}
    except DvcException as error:
        raise InputError(f"{root / 'dvc.yaml'}: DVC cannot read it ({error}); `dvc dag` shows the error") from error


def _stage(stage: PipelineStage, upstream: list[PipelineStage]) -> Stage:
    meta = stage.meta or {}
    pool, shards = meta.get("pool"), meta.get("shards") is True
    if pool not in POOLS:
        raise InputError(
            f"dvc.yaml: stage {stage.name!r} has meta.pool {pool!r}; write `meta: {{pool: cpu}}` or `{{pool: gpu}}`"
        )
    written = {out.def_path for other in upstream for out in other.outs}
    read = tuple(dep.def_path for dep in stage.deps if dep.def_path in written)
    return Stage(stage.name, stage.desc or "", pool, shards, tuple(sorted(other.name for other in upstream)), read)


def select(graph: Graph, targets: Iterable[str]) -> Graph:
    """Return the targets and all stages that they depend on; the whole graph if there are no targets.

    Raises:
        InputError: a target is not a stage.
    """
    waiting = list(targets)
    if unknown := [name for name in waiting if name not in graph]:
        raise InputError(f"there is no stage {unknown[0]!r}; dvc.yaml has {', '.join(graph)}")
    if not waiting:
        return dict(graph)
    wanted: set[str] = set()
    while waiting:
        name = waiting.pop()
        wanted.add(name)
        waiting += [each for each in graph[name].upstream if each not in wanted]
    return {name: stage for name, stage in graph.items() if name in wanted}


def remote_name(root: Path) -> str | None:
    """Return the name of the default DVC remote of a clone; None if there is none."""
    with Repo(str(root)) as repo:
        return repo.config["core"].get("remote")


def missing_inputs(root: Path, stage: Stage) -> list[str]:
    """Return those inputs of a stage that are not here as `dvc.lock` says."""
    with _checking, Repo(str(root), _wait_for_lock=True) as repo, repo.lock:
        outputs = {out.def_path: out for out in repo.index.outs}
        return [name for name in stage.inputs if outputs[name].changed()]


def is_unchanged(root: Path, name: str) -> bool:
    """Return whether DVC would skip a stage: command, parameters, code and inputs as recorded, outputs in place."""
    with _checking, Repo(str(root), _wait_for_lock=True) as repo, repo.lock:
        return not repo.stage.load_one(name=name).changed()
