"""The pipeline on worker pools: each stage, and each part of a stage, is a run of a deployment of its pool."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Cancelling, Completed

from bestie.artifacts.paths import PROFILES
from bestie.errors import InputError
from flows import publish, workspace
from flows.faults import CancelledError, InfrastructureError, StageError
from flows.graph import Graph, Stage, load_graph, remote_name, select
from flows.lock_entries import Lock, format_lock_entries, parse_lock_entries
from flows.locks import waiting_in, workspace_lock
from flows.part_on_worker import PART
from flows.repro import TO_COMPUTE, Surroundings, run_dvc
from flows.requests import Request
from flows.run_states import RunStates
from flows.stage_on_worker import LOCK_ENTRY
from flows.stopping import Stop
from flows.tasks import FAULT, Spread, run_graph, summarize_states

POLL_S = 1.0
#: Seconds after which a warning says that no worker has taken a stage yet.
UNTAKEN_S = 60
#: The most parts of one stage.
MAX_PARTS = 64


def run_on_workers(root: Path, request: Request, stop: Stop) -> State:
    """Run the pipeline of a commit on workers, and record the result in the clone in `root`.

    Raises:
        InputError: the request is wrong, or code in this clone is not committed.
        CancelledError: the run was cancelled.
    """
    commit = _commit(root, request)
    params, lock = _start(root, commit, request)
    every = load_graph(root, commit)
    graph, spread = select(every, request.targets), check_spread(every, request.spread)
    workers = Workers(stop, commit=commit, params=params, lock=lock, force=request.force)
    parts = {name: workers.spread(count) for name, count in spread.items() if name in graph}
    states = run_graph(graph, workers.run, stop, spread=parts)
    stop.check()
    state = summarize_states(states)
    if not state.is_completed():
        return state
    log = get_run_logger()
    with workspace_lock(root, f"pipeline run {runtime.flow_run.name!r}", wait=waiting_in(stop.check, log.info)) as held:
        workspace.checkout(root, commit, replace=(workspace.LOCK, workspace.PARAMS))
        (root / workspace.PARAMS).write_text(params, encoding="utf-8")
        (root / workspace.LOCK).write_text(workers.lock_text(graph), encoding="utf-8")
        run_dvc(["pull", "--force", *publish.inputs(graph)], Surroundings(root, stop, log.info, {}, (held,)))
        return publish.finish(root, graph, state)


def _commit(root: Path, request: Request) -> str:
    if remote_name(root) is None:
        raise InputError(f"{root} has no default DVC remote where workers meet: `dvc remote add --default NAME URL`")
    if request.revision:
        return workspace.resolve(root, request.revision)
    if changed := workspace.changed_files(root, but=(workspace.LOCK, workspace.PARAMS)):
        raise InputError(
            f"{root} has changes that are not committed ({', '.join(changed[:5])}), and workers check out commits. "
            "Commit and push them, or name a revision"
        )
    return workspace.resolve(root, "HEAD")


def _start(root: Path, commit: str, request: Request) -> tuple[str, Lock]:
    """Return parameters and entries of `dvc.lock`: those of the commit, or of this clone if no revision was named."""
    texts = {}
    for name in (workspace.PARAMS, workspace.LOCK):
        own = root / name
        here = request.revision is None and own.exists()
        texts[name] = own.read_text(encoding="utf-8") if here else workspace.file_at(root, commit, name)
    params, changed = workspace.edit_params(
        texts[workspace.PARAMS], root / PROFILES, request.profile, request.set_params
    )
    for change in changed:
        get_run_logger().info("%s: %s", workspace.PARAMS, change)
    return params, parse_lock_entries(texts[workspace.LOCK])


def check_spread(graph: Graph, spread: Mapping[str, int]) -> dict[str, int]:
    """Return the stages to compute in parts, without those of a single part.

    Raises:
        InputError: there is no such stage, it writes no shards, or the number is not in 1..`MAX_PARTS`.
    """
    able = [name for name, stage in graph.items() if stage.shards]
    for name, count in spread.items():
        if name not in able:
            reason = f"stage {name!r} does not write shards" if name in graph else f"there is no stage {name!r}"
            raise InputError(f"spread: {reason}; those that can be computed in parts are {', '.join(able)}")
        if not 1 <= count <= MAX_PARTS:
            raise InputError(f"spread: {name} in {count} parts; take a number from 1 to {MAX_PARTS}")
    return {name: count for name, count in spread.items() if count > 1}


class Workers:
    """Runs stages on worker pools and collects what they add to `dvc.lock`.

    Args:
        stop: cancels the stages that run.
        commit: the commit that the workers check out.
        params: the text of `params.yaml`.
        lock: the stages of `dvc.lock` before the run.
        force: also run stages that are up to date.
    """

    def __init__(self, stop: Stop, *, commit: str, params: str, lock: Lock, force: bool) -> None:
        self._stop, self._commit, self._params, self._force = stop, commit, params, force
        self._lock, self._guard = dict(lock), threading.Lock()
        self._states = RunStates(POLL_S / 2)
        self._looked: dict[str, State] = {}
        self._parts: dict[str, dict[int, str]] = {}

    def run(self, stage: Stage) -> State:
        """Run one stage on its pool, with those of its parts that were computed; return its state, Completed or Cached.

        Raises:
            StageError: the stage failed.
            InfrastructureError: its worker or its process was lost, so another attempt can help.
            CancelledError: this run was cancelled; the stage's run is cancelled, too.
        """
        if (looked := self._looked.get(stage.name)) and looked.name != TO_COMPUTE:
            return Completed(name=looked.name, message=looked.message)  # `looked` is the state of another task by now
        found = self._parts.get(stage.name, {})
        parts = {"count": len(found), "parts": [found[number] for number in sorted(found)]} if found else {}
        return self._run_stage(stage, **parts)

    def spread(self, count: int) -> Spread:
        """Return how to compute a stage in `count` parts, each as a run of its own. Errors as in `run`."""

        def look(stage: Stage) -> State:
            wanted: State = Completed(name=TO_COMPUTE, message="to be run anew, as asked for; its parts come next")
            self._looked[stage.name] = wanted if self._force else self._run_stage(stage, count=count)
            return self._looked[stage.name]

        def compute(stage: Stage, number: int) -> State:
            if self._looked[stage.name].name != TO_COMPUTE:
                return Completed(name="Cached", message="not needed: the stage is up to date")
            run, state = self._run("part", stage, f"part {number} of {count} of", number=number, count=count)
            if state.is_completed():
                self._parts.setdefault(stage.name, {})[number] = self._artifact(run, PART)
            return state

        return Spread(count, look, compute)

    def _run_stage(self, stage: Stage, **parameters: Any) -> State:
        """Run the deployment `stage`, and keep what it adds to `dvc.lock`."""
        run, state = self._run("stage", stage, force=self._force, **parameters)
        if state.is_completed() and state.name != TO_COMPUTE:
            lines = self._artifact(run, LOCK_ENTRY).splitlines()
            entry = parse_lock_entries("\n".join(line for line in lines if not line.startswith("```")))
            with self._guard:
                self._lock[stage.name] = entry[stage.name]
        return state

    def _run(self, kind: str, stage: Stage, what: str = "", **parameters: Any) -> tuple[UUID, State]:
        """Run a deployment for a stage on its pool to its end; return the run and its state. Errors as in `run`."""
        self._stop.check()
        name = f"{what} {stage.name}".strip()
        run = self._dispatch(kind, stage, f"{name} of {runtime.flow_run.name}", parameters)
        state = self._wait(run, stage)
        message = state.message or "no message"
        if state.is_completed():
            kept = state.name if state.name in ("Cached", TO_COMPUTE) else None
            return run.id, Completed(name=kept, message=message)
        if state.is_crashed():
            raise InfrastructureError(f"{name} crashed on its worker: {message}")
        if state.is_cancelled():
            return run.id, Cancelled(message=f"{name} was cancelled.")
        raise (InfrastructureError if state.name == FAULT else StageError)(message)

    def lock_text(self, order: dict[str, Stage]) -> str:
        """Return the text of `dvc.lock` with all known entries, first those of `order`, in its order."""
        with self._guard:
            known = {name: self._lock[name] for name in order if name in self._lock}
            return format_lock_entries(known | self._lock)

    def _dispatch(self, kind: str, stage: Stage, name: str, parameters: dict[str, Any]) -> FlowRun:
        deployment = f"{kind}/{kind}-{stage.pool}"
        given = {"name": stage.name, "revision": self._commit, "params": self._params, "lock": self.lock_text({})}
        try:
            run = run_deployment(deployment, parameters=given | parameters, timeout=0, flow_run_name=name)
        except ObjectNotFound:
            raise InputError(f"there is no deployment {deployment!r} on the server: `make deploy`") from None
        assert isinstance(run, FlowRun)
        return run

    def _wait(self, run: FlowRun, stage: Stage) -> State:
        """Wait for the end of a stage's run, however long the server is unreachable; return its state."""
        log, asked, told = get_run_logger(), time.monotonic(), False
        self._states.follow(run.id)
        while True:
            try:
                self._stop.sleep(POLL_S)
            except CancelledError:
                self._cancel(run.id)
                raise
            try:
                state = self._states.of(run.id)
            except httpx.HTTPError as error:
                log.debug("cannot reach the server: %s", error)
                continue
            if state is not None and state.is_final():
                self._states.forget(run.id)
                return state
            if state is not None and state.is_scheduled() and not told and time.monotonic() - asked > UNTAKEN_S:
                told = True
                log.warning("no worker has taken %s yet: `make worker POOL=%s`", stage.name, stage.pool)

    def _artifact(self, run_id: UUID, description: str) -> str:
        """Return the text of an artifact of a run, however long the server is unreachable."""
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
        while True:
            try:
                with get_client(sync_client=True) as client:
                    found = client.read_artifacts(artifact_filter=of_run)
                return next(str(each.data) for each in found if each.description == description)
            except httpx.HTTPError as error:
                get_run_logger().debug("cannot reach the server: %s", error)
                self._stop.sleep(POLL_S)

    def _cancel(self, run_id: UUID) -> None:
        try:
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(run_id, Cancelling(message="The pipeline that asked for it has ended."))
        except Exception as error:  # this run ends in any case
            get_run_logger().warning("cannot cancel the run of a stage: %s", error)
