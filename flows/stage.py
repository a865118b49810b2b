"""One stage on a worker, as a Prefect flow: its inputs from the DVC remote, its outputs back to it.

A worker has a clone of its own. The pipeline tells it the revision, the parameters, and the `dvc.lock` of what
other workers have done; so it reads what they wrote, and nothing else that may lie in the clone.
"""

from pathlib import Path
from uuid import UUID

from prefect import flow, runtime
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Cancelled

from bestie.errors import InputError
from flows import workspace
from flows.faults import InfrastructureError, describe
from flows.graph import Stage, load_graph, remote_name
from flows.locks import waiting_in, workspace_lock
from flows.run_stage import Surroundings, completed, run_dvc, run_stage
from flows.server import wait_until_it_answers
from flows.slots import slot_for
from flows.stopping import Stop, Watch
from flows.tasks import as_state
from flows.versions import format_lock, parse_lock, read_lock

#: The description of the artifact that carries what a stage added to `dvc.lock`.
LOCK_ENTRY = "entry of dvc.lock"


@flow(name="stage", description="Bring one stage up to date in this worker's clone.")
def stage(name: str, revision: str, params: str, lock: str, force: bool = False) -> State:
    """Bring one stage up to date.

    Args:
        name: the stage.
        revision: the commit to check out.
        params: the text of `params.yaml`.
        lock: the text of `dvc.lock`, with all that this stage reads from; may be empty.
        force: run it even if it is up to date.
    """
    root, stop = Path.cwd(), Stop()
    with Watch(stop, runtime.flow_run.id):
        try:
            return as_state(lambda: _in_this_clone(root, stop, name, revision, params, lock, force), stop)
        except BaseException:
            stop.now(Cancelled, "The run was ended from outside.")
            raise


def _in_this_clone(root: Path, stop: Stop, name: str, revision: str, params: str, lock: str, force: bool) -> State:
    log = get_run_logger()
    with workspace_lock(root, f"stage run {runtime.flow_run.name!r}", wait=waiting_in(stop.check, log.info)) as held:
        workspace.checkout(root, workspace.resolve(root, revision), replace=(workspace.LOCK, workspace.PARAMS))
        (root / workspace.PARAMS).write_text(params, encoding="utf-8")
        (root / workspace.LOCK).write_text(format_lock(parse_lock(lock)), encoding="utf-8")
        stage = _own_stage(root, name)
        with slot_for(stage.pool, stop.sleep, on_worker=True) as slot:
            where = Surroundings(root, stop, log.info, slot.environment, (held, *slot.descriptors))
            if stage.inputs:
                _transfer(["pull", "--force", *stage.inputs], where)
            outcome = run_stage(name, where, ["--pull", *(["--force"] if force else [])])
            _transfer(["push", "--run-cache", name], where)
            wait_until_it_answers(stop.sleep)  # the slot is given back to the server, and the entry goes there
        entry = read_lock(root / workspace.LOCK)[name]
        create_markdown_artifact(f"```yaml\n{format_lock({name: entry})}```\n", description=LOCK_ENTRY)
        return completed(outcome)


def _own_stage(root: Path, name: str) -> Stage:
    """The stage, if this worker may run it. Raises InputError."""
    graph = load_graph(root)
    if name not in graph:
        raise InputError(f"there is no stage {name!r}; dvc.yaml has {', '.join(graph)}")
    with get_client(sync_client=True) as client:
        pool = client.read_flow_run(UUID(runtime.flow_run.id)).work_pool_name
    if graph[name].pool != pool:
        raise InputError(
            f"stage {name!r} belongs to the pool {graph[name].pool!r}, and this worker is one of {pool!r}: "
            f"run the deployment stage/stage-{graph[name].pool}"
        )
    if remote_name(root) is None:
        raise InputError(f"{root} has no default DVC remote to meet other workers: `dvc remote add --default NAME URL`")
    return graph[name]


def _transfer(arguments: list[str], where: Surroundings) -> None:
    status, lines = run_dvc(arguments, where)
    if status != 0:
        raise InfrastructureError(f"`dvc {arguments[0]}` failed:\n{describe(lines)}")
