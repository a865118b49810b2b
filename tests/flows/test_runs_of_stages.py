"""How the run of the pipeline handles the run of a stage on a worker that ends without a result."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from prefect import flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled, Crashed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.graph import Stage
from flows.stopping import Stop
from flows.tasks import FAULT, run_graph, summarize_states
from flows.workers import Workers
from tests.flows.prefect_server import Server, eventually

STAGE = Stage("maps", "", "cpu", False, (), ())


@pytest.fixture
def deployment(server: Server) -> Iterator[str]:
    """The id of what the pipeline asks for when a stage is to run; no worker will take it."""
    with server.client() as client:
        made = client.create_deployment(client.create_flow_from_name("stage"), "stage-cpu")
        yield str(made)
        client.delete_deployment(made)


def asked_for(server: Server, deployment: str) -> list[FlowRun]:
    with server.client() as client:
        return [run for run in client.read_flow_runs() if str(run.deployment_id) == deployment]


@pytest.mark.parametrize(
    ("state", "ended", "message"),
    [
        (Cancelled(), "Cancelled", "maps was cancelled."),
        (Failed(message="maps failed:\nno such image"), "Failed", "maps failed:\nno such image"),
        (Crashed(message="out of memory"), FAULT, "maps crashed on its worker: out of memory"),
    ],
    ids=["cancelled", "failed", "crashed"],
)
def test_a_stage_ends_as_its_run_did(server: Server, deployment: str, state: State, ended: str, message: str):
    states: dict[str, State] = {}

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))  # type: ignore[arg-type]
    def one_stage() -> State:
        stop = Stop()
        workers = Workers(stop, commit="", params="", lock={}, force=False)
        states.update(run_graph({"maps": STAGE}, workers.run, stop, delays_s=()))
        return summarize_states(states)

    def end_it() -> None:
        (run,) = eventually(lambda: asked_for(server, deployment))
        with server.client() as client:
            client.set_flow_run_state(run.id, state, force=True)

    with ThreadPoolExecutor(1) as beside:
        ending = beside.submit(end_it)
        one_stage(return_state=True)
        ending.result()

    assert states["maps"].name == ended
    assert message in (states["maps"].message or "")
