"""The steps that every run on a worker shares: prepare the worker's clone, and take a slot to compute in.

Each worker has a clone of its own. The pipeline tells it the revision, the parameters, and the `dvc.lock` with the
results of other workers. A run therefore reads what they wrote, and nothing else that may lie in the clone.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Cancelled

from bestie.errors import InputError
from bestie.project.repair import repair
from flows import workspace
from flows.faults import InfrastructureError, describe
from flows.graph import Stage, load_graph, missing_inputs, remote_name
from flows.lock_entries import format_lock_entries, parse_lock_entries
from flows.locks import waiting_in, workspace_lock
from flows.repro import Surroundings, run_command, run_dvc
from flows.slots import slot_for
from flows.stopping import Stop, Watch
from flows.tasks import as_state

#: Seconds before each further attempt to send what was computed: a remote that is away costs no computation.
SEND_DELAYS_S = (10.0, 30.0, 60.0, 120.0)
#: The folder for parts of stages while a run needs them; every clone has its own.
STATE = Path(".bestie")


@dataclass(frozen=True)
class Assignment:
    """The work that the pipeline assigns to a worker.

    Attributes:
        name: the stage.
        revision: the commit to check out.
        params: the text of `params.yaml`.
        lock: the text of `dvc.lock`, with every stage that this one reads from; may be empty.
    """

    name: str
    revision: str
    params: str
    lock: str


def watched(work: Callable[[Path, Stop], State]) -> State:
    """Do the work of a flow run in this clone; end it when the run is cancelled or given up, or its worker is gone."""
    root, stop = Path.cwd(), Stop()
    with Watch(stop, runtime.flow_run.id, given_up=True):
        try:
            return as_state(lambda: work(root, stop), stop)
        except BaseException:
            stop.now(Cancelled, "The run was ended from outside.")
            raise


@contextmanager
def prepared_clone(root: Path, stop: Stop, assignment: Assignment) -> Iterator[Surroundings]:
    """Prepare the clone in `root` as assigned, with the inputs of the stage, and hold it while the block runs.

    Raises:
        InputError: there is no such revision or stage, the stage belongs to another pool, or there is no DVC remote.
        InfrastructureError: the inputs cannot be pulled.
        CancelledError: the run was cancelled meanwhile.
    """
    log = get_run_logger()
    owner = f"{runtime.flow_run.flow_name} run {runtime.flow_run.name!r}"
    with workspace_lock(root, owner, wait=waiting_in(stop.check, log.info)) as held:
        repair_clone(root)
        revision = workspace.resolve(root, assignment.revision)
        workspace.checkout(root, revision, replace=(workspace.LOCK, workspace.PARAMS))
        (root / workspace.PARAMS).write_text(assignment.params, encoding="utf-8")
        (root / workspace.LOCK).write_text(format_lock_entries(parse_lock_entries(assignment.lock)), encoding="utf-8")
        stage = _own_stage(root, assignment.name)
        with slot_for(stage.pool, stop.sleep, on_worker=True) as slot:
            where = Surroundings(root, stop, log.info, slot.environment, (held, *slot.descriptors))
            if missing := missing_inputs(root, stage):
                move_outputs(["pull", "--force", *missing], where)
            yield where


def repair_clone(root: Path) -> None:
    """Repair what a killed DVC left in a clone, and log each repair.

    Raises:
        InputError: see `repair`.
    """
    for line in repair(root):
        get_run_logger().warning("repair: %s", line)


def move_outputs(arguments: list[str], where: Surroundings) -> None:
    """Run a DVC command that sends or gets outputs.

    Raises:
        InfrastructureError: it failed.
        CancelledError: the run was cancelled meanwhile.
    """
    status, lines = run_dvc(arguments, where)
    if status != 0:
        raise InfrastructureError(f"`dvc {arguments[0]}` failed:\n{describe(lines)}")


def hand_over(arguments: list[str], where: Surroundings) -> None:
    """Run `python -m flows.handover` with some arguments.

    Raises:
        InfrastructureError: it failed.
        CancelledError: the run was cancelled meanwhile.
    """
    status, lines = run_command([sys.executable, "-m", "flows.handover", *arguments], where)
    if status != 0:
        raise InfrastructureError(f"parts of a stage cannot be handed over:\n{describe(lines)}")


def send(how: Callable[[list[str], Surroundings], None], arguments: list[str], where: Surroundings) -> None:
    """Send what was computed, by `move_outputs` or `hand_over`, with further attempts if the remote does not take it.

    Raises:
        InfrastructureError: no attempt succeeded.
        CancelledError: the run was cancelled meanwhile.
    """
    for delay in SEND_DELAYS_S:
        try:
            return how(arguments, where)
        except InfrastructureError as fault:
            get_run_logger().warning("%s\nThe next attempt is in %.0f s.", fault, delay)
            where.stop.sleep(delay)
    return how(arguments, where)


def _own_stage(root: Path, name: str) -> Stage:
    """Return a stage; raise InputError if this worker cannot run it."""
    graph = load_graph(root)
    if name not in graph:
        raise InputError(f"there is no stage {name!r}; dvc.yaml has {', '.join(graph)}")
    with get_client(sync_client=True) as client:
        pool = client.read_flow_run(UUID(runtime.flow_run.id)).work_pool_name
    if graph[name].pool != pool:
        flow = runtime.flow_run.flow_name
        raise InputError(
            f"stage {name!r} belongs to the pool {graph[name].pool!r}, and this worker is one of {pool!r}: "
            f"run the deployment {flow}/{flow}-{graph[name].pool}"
        )
    if remote_name(root) is None:
        raise InputError(f"{root} has no default DVC remote to meet other workers: `dvc remote add --default NAME URL`")
    return graph[name]
