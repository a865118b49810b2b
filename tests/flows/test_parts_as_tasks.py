"""A stage in parts as Prefect tasks: each part is a mapped task with attempts of its own."""

from collections import Counter

import pytest
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.faults import InfrastructureError, StageError
from flows.graph import Graph, Stage
from flows.stopping import Stop
from flows.tasks import Spread, run_graph, summarize_states
from flows.workers import Workers
from tests.flows.prefect_server import Server

GRAPH: Graph = {
    "maps": Stage("maps", "", "cpu", True, (), ()),
    "scores": Stage("scores", "", "cpu", False, ("maps",), ()),
}
PARTS = 3
TASKS = {"maps: look", "maps", "scores", *(f"maps: part {number} of {PARTS}" for number in (1, 2, 3))}


class Work:
    """What the tasks do: part 2 goes wrong as often as `faults` says."""

    def __init__(self, *faults: Exception) -> None:
        self.faults, self.calls = list(faults), []

    def look(self, stage: Stage) -> State:
        self.calls.append(f"look at {stage.name}")
        return Completed(name="ToCompute")

    def compute(self, stage: Stage, number: int) -> State:
        self.calls.append(f"{stage.name} {number}")
        if number == 2 and self.faults:
            raise self.faults.pop()
        return Completed()

    def run(self, stage: Stage) -> State:
        self.calls.append(stage.name)
        return Completed()


class UpToDate(Workers):
    """Workers whose every stage is up to date."""

    def __init__(self) -> None:
        super().__init__(Stop(), commit="", params="", lock={}, force=False)
        self.asked: list[str] = []

    def _run_stage(self, stage: Stage, **_parameters: object) -> State:
        self.asked.append(stage.name)
        return Completed(name="Cached")


def run(work: Work) -> tuple[str, dict[str, State]]:
    """Run the graph as a flow; returns the id of the flow run, and the states of the stages."""
    states: dict[str, State] = {}

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=8))  # type: ignore[arg-type]
    def parts() -> State:
        spread = {"maps": Spread(PARTS, work.look, work.compute)}
        states.update(run_graph(GRAPH, work.run, Stop(), spread=spread, delays_s=(0.0,)))
        return summarize_states(states)

    ended = parts(return_state=True)
    return str(ended.state_details.flow_run_id), states


def test_parts_come_between_the_look_and_the_stage(server: Server):
    work = Work()
    flow_run, states = run(work)
    assert work.calls[0] == "look at maps"
    assert sorted(work.calls[1:-2]) == ["maps 1", "maps 2", "maps 3"]
    assert work.calls[-2:] == ["maps", "scores"]
    assert all(state.is_completed() for state in states.values())
    assert set(server.task_runs(flow_run, TASKS)) == TASKS


def test_a_part_whose_worker_was_lost_is_asked_for_again_alone(server: Server):
    work = Work(InfrastructureError("its worker is gone"))
    _, states = run(work)
    assert Counter(work.calls) == {
        "look at maps": 1,
        "maps 1": 1,
        "maps 2": 2,
        "maps 3": 1,
        "maps": 1,
        "scores": 1,
    }
    assert summarize_states(states).is_completed()


@pytest.mark.usefixtures("server")
def test_what_a_part_failed_of_is_what_the_run_failed_of():
    work = Work(StageError("part 2 of 3 of maps failed:\nno such image"))
    _, states = run(work)
    assert "maps" not in work.calls
    assert "scores" not in work.calls
    state = summarize_states(states)
    assert state.is_failed()
    assert state.message == "part 2 of 3 of maps failed:\nno such image\nNot run: scores."


def test_a_stage_that_is_up_to_date_is_asked_for_once_and_has_no_part(server: Server):
    workers = UpToDate()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=8))  # type: ignore[arg-type]
    def parts() -> State:
        return summarize_states(
            run_graph(GRAPH, workers.run, Stop(), spread={"maps": workers.spread(PARTS)}, delays_s=())
        )

    ended = parts(return_state=True)

    assert ended.message == "All stages are up to date."
    assert workers.asked == ["maps", "scores"]
    assert ended.state_details.flow_run_id is not None
    runs = server.task_runs(ended.state_details.flow_run_id, TASKS)
    assert {name: run.state_name for name, run in runs.items()} == dict.fromkeys(TASKS, "Cached")
