"""The pipeline on this machine, in this workspace."""

from pathlib import Path

from prefect import runtime
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from bestie.artifacts.atomic import atomic_output
from bestie.artifacts.paths import PROFILES
from bestie.errors import InputError
from flows import publish, workspace
from flows.graph import Stage, is_unchanged, load_graph, select
from flows.leftovers import mark_leftovers, workspace_tag
from flows.locks import waiting_in, workspace_lock
from flows.own_clone import repair_clone
from flows.repro import StageOutcome, Surroundings, completed, repro_stage
from flows.requests import Request
from flows.slots import slot_for
from flows.stopping import Stop
from flows.tasks import run_graph, summarize_states


def run_here(root: Path, request: Request, stop: Stop) -> State:
    """Bring the workspace in `root` up to date; return the state of the run.

    Raises:
        InputError: the request is wrong, or another run uses the workspace.
        CancelledError: the run was cancelled.
    """
    if request.spread:
        raise InputError("a stage is spread over workers: say on_workers, too (--on-workers)")
    tag = workspace_tag(root)
    wait = waiting_in(stop.check, get_run_logger().info) if request.wait else None
    with workspace_lock(root, f"pipeline run {runtime.flow_run.name!r}", wait=wait) as lock:
        mark_leftovers(tag, runtime.flow_run.id)
        repair_clone(root)
        if request.revision:
            workspace.checkout(root, workspace.resolve(root, request.revision))
        _write_params(root, request)
        graph = select(load_graph(root), request.targets)
        states = run_graph(graph, OneMachine(root, stop, lock=lock, force=request.force).run, stop)
        stop.check()
        state = summarize_states(states)
        return publish.finish(root, graph, state) if state.is_completed() else state


def _write_params(root: Path, request: Request) -> None:
    path = root / workspace.PARAMS
    if request.profile is None and not path.exists():
        raise InputError(f"{path}: no such file; `bestie profile shapes` writes the default")
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    text, changed = workspace.edit_params(before, root / PROFILES, request.profile, request.set_params)
    for change in changed:
        get_run_logger().info("%s: %s", workspace.PARAMS, change)
    if changed:
        with atomic_output(path) as partial:
            partial.write_text(text, encoding="utf-8")


class OneMachine:
    """Runs stages on this machine, in the workspace.

    Args:
        root: the workspace, which the caller has locked.
        stop: ends the stages that run.
        lock: file descriptor of the workspace's lock.
        force: also run stages that are up to date.
    """

    def __init__(self, root: Path, stop: Stop, *, lock: int, force: bool) -> None:
        self._root, self._stop, self._lock, self._force = root, stop, lock, force

    def run(self, stage: Stage) -> State:
        """Bring one stage up to date; return its state, which is named Cached if nothing had to run.

        Raises:
            StageError: the stage failed.
            InfrastructureError: the stage was killed or DVC was busy, so another attempt can help.
            CancelledError: the run was cancelled.
        """
        self._stop.check()
        if not self._force and is_unchanged(self._root, stage.name):
            return completed(StageOutcome.UNCHANGED)
        log = get_run_logger()
        with slot_for(stage.pool, self._stop.sleep, on_worker=False) as slot:
            where = Surroundings(self._root, self._stop, log.info, slot.environment, (self._lock, *slot.descriptors))
            return completed(repro_stage(stage.name, where, ["--force"] if self._force else []))
