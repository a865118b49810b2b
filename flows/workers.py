"""The pipeline over worker pools: each stage as a run of the `stage` deployment of its pool."""

import threading
import time
from pathlib import Path
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

from bestie.errors import InputError
from bestie.folders import PROFILES
from flows import report, workspace
from flows.faults import InfrastructureError, StageError, StoppedError
from flows.graph import Stage, load_graph, remote_name, select
from flows.locks import waiting_in, workspace_lock
from flows.requests import Request
from flows.run_stage import Surroundings, run_dvc
from flows.stage import LOCK_ENTRY
from flows.stopping import Stop
from flows.tasks import FAULT, run_graph, summarize
from flows.versions import Lock, format_lock, parse_lock

POLL_S = 1.0
#: Seconds after which a stage that no worker has taken is worth a word.
UNTAKEN_S = 60


def run_on_workers(root: Path, request: Request, stop: Stop) -> State:
    """Run the pipeline of a commit on workers, and record the result in the clone in `root`.

    Raises:
        InputError: the request is wrong, or code in this clone is not committed.
        StoppedError: the run was cancelled.
    """
    commit = _commit(root, request)
    params, lock = _start(root, commit, request)
    graph = select(load_graph(root, commit), request.targets)
    workers = Workers(stop, commit=commit, params=params, lock=lock, force=request.force)
    states = run_graph(graph, workers.run, stop)
    stop.check()
    state = summarize(states)
    if not state.is_completed():
        return state
    log = get_run_logger()
    with workspace_lock(root, f"pipeline run {runtime.flow_run.name!r}", wait=waiting_in(stop.check, log.info)) as held:
        workspace.checkout(root, commit, replace=(workspace.LOCK, workspace.PARAMS))
        (root / workspace.PARAMS).write_text(params, encoding="utf-8")
        (root / workspace.LOCK).write_text(workers.lock_text(graph), encoding="utf-8")
        run_dvc(["pull", "--force", *report.inputs(graph)], Surroundings(root, stop, log.info, {}, (held,)))
        return report.finish(root, graph, state)


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
    """The parameters, and what is known to be up to date: of the commit, or of this clone where none was named."""
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
    return params, parse_lock(texts[workspace.LOCK])


class Workers:
    """Runs stages on worker pools and gathers what they add to `dvc.lock`.

    Args:
        stop: cancels what runs.
        commit: what the workers check out.
        params: the text of `params.yaml`.
        lock: the stages of `dvc.lock` before the run.
        force: run stages that are up to date, too.
    """

    def __init__(self, stop: Stop, *, commit: str, params: str, lock: Lock, force: bool) -> None:
        self._stop, self._commit, self._params, self._force = stop, commit, params, force
        self._lock, self._guard = dict(lock), threading.Lock()

    def run(self, stage: Stage) -> State:
        """Run one stage on its pool; returns its state, Completed or Cached.

        Raises:
            StageError: the stage failed.
            InfrastructureError: its worker or its process was lost, so another attempt can help.
            StoppedError: this run was cancelled; the stage's run is cancelled, too.
        """
        self._stop.check()
        state = self._wait(self._dispatch(stage), stage)
        message = state.message or "no message"
        if state.is_completed():
            return Completed(name="Cached" if state.name == "Cached" else None, message=message)
        if state.is_crashed():
            raise InfrastructureError(f"{stage.name} crashed on its worker: {message}")
        if state.is_cancelled():
            return Cancelled(message=f"{stage.name} was cancelled.")
        raise (InfrastructureError if state.name == FAULT else StageError)(message)

    def lock_text(self, order: dict[str, Stage]) -> str:
        """The text of `dvc.lock` with all that is known, in the order of the stages."""
        with self._guard:
            known = {name: self._lock[name] for name in order if name in self._lock}
            return format_lock(known | self._lock)

    def _dispatch(self, stage: Stage) -> FlowRun:
        deployment = f"stage/stage-{stage.pool}"
        parameters = {
            "name": stage.name,
            "revision": self._commit,
            "params": self._params,
            "lock": self.lock_text({}),
            "force": self._force,
        }
        try:
            name = f"{stage.name} of {runtime.flow_run.name}"
            run = run_deployment(deployment, parameters=parameters, timeout=0, flow_run_name=name)
        except ObjectNotFound:
            raise InputError(f"there is no deployment {deployment!r} on the server: `make deploy`") from None
        assert isinstance(run, FlowRun)
        return run

    def _wait(self, run: FlowRun, stage: Stage) -> State:
        """Wait for the end of a stage's run, however long the server is away."""
        log, asked, told = get_run_logger(), time.monotonic(), False
        while True:
            try:
                self._stop.sleep(POLL_S)
            except StoppedError:
                self._cancel(run.id)
                raise
            try:
                with get_client(sync_client=True) as client:
                    state = client.read_flow_run(run.id).state
                if state is not None and state.is_final():
                    if state.is_completed():
                        self._take_entry(run.id, stage)
                    return state
            except httpx.HTTPError as error:
                log.debug("cannot reach the server: %s", error)
                continue
            if state is not None and state.is_scheduled() and not told and time.monotonic() - asked > UNTAKEN_S:
                told = True
                log.warning("no worker has taken %s yet: `make worker POOL=%s`", stage.name, stage.pool)

    def _take_entry(self, run_id: UUID, stage: Stage) -> None:
        with get_client(sync_client=True) as client:
            of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
            found = client.read_artifacts(artifact_filter=of_run)
        texts = [str(each.data) for each in found if each.description == LOCK_ENTRY]
        text = "\n".join(line for line in texts[0].splitlines() if not line.startswith("```"))
        with self._guard:
            self._lock[stage.name] = parse_lock(text)[stage.name]

    def _cancel(self, run_id: UUID) -> None:
        try:
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(run_id, Cancelling(message="The pipeline that asked for it has ended."))
        except Exception as error:  # this run ends in any case
            get_run_logger().warning("cannot cancel the run of a stage: %s", error)
