"""The pipeline as a flow on one machine, with a real server and the real stages."""

import re
from collections.abc import Callable
from statistics import median

from prefect.client.schemas.objects import State

from flows.pipeline import pipeline
from tests import workspace as ws
from tests.clones import Clone
from tests.flows.prefect_server import Server, eventually

Look = Callable[[], dict[str, str] | None]


def run(**parameters: object) -> tuple[str, State]:
    """Run the pipeline in the working directory; returns the run's id and its last state."""
    state = pipeline(**parameters, return_state=True)
    return str(state.state_details.flow_run_id), state


def states_of(server: Server, run_id: str) -> Look:
    """Looks for the names of the last states by stage; None while the server has not heard of all."""

    def look() -> dict[str, str] | None:
        states = {name: run.state for name, run in server.task_runs(run_id).items()}
        known = all(state is not None and state.is_final() for state in states.values())
        return {name: state.name for name, state in states.items()} if states and known else None

    return look


def test_stages_that_are_up_to_date_are_cached_and_drawn_as_in_dvc_dag(server: Server, clone: Clone):
    run_id, state = run()

    assert state.is_completed()
    assert eventually(states_of(server, run_id)) == dict.fromkeys(ws.STAGES, "Cached")
    seconds = {name: task.total_run_time.total_seconds() for name, task in server.task_runs(run_id).items()}
    assert median(seconds.values()) < 2, seconds
    with server.client() as client:
        graph = client.request("GET", f"/flow_runs/{run_id}/graph-v2").json()
    nodes = {node["id"]: node for _, node in graph["nodes"]}
    drawn = {(nodes[parent["id"]]["label"], node["label"]) for node in nodes.values() for parent in node["parents"]}
    dag = clone.dvc("dag", "--dot")
    assert drawn == {tuple(edge) for edge in re.findall(r'"(\w+)" -> "(\w+)"', dag)}
