"""The states of many runs, asked for together."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.states import Completed, Running

from flows import run_states
from flows.run_states import RunStates
from tests.flows.prefect_server import Server


@pytest.fixture
def runs(server: Server) -> list[UUID]:
    """Five runs; the last one has ended."""

    @flow(name="sleeper")
    def sleeper() -> None:
        pass

    with server.client() as client:
        made = [client.create_flow_run(sleeper, state=Running()).id for _ in range(5)]
        client.set_flow_run_state(made[-1], Completed(message="done"), force=True)
    return made


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the server was asked."""
    times: list[float] = []
    real = run_states.get_client

    def counting(**options: Any) -> Any:
        times.append(time.monotonic())
        return real(**options)

    monkeypatch.setattr(run_states, "get_client", counting)
    return times


@pytest.mark.parametrize("page", [200, 2])
def test_each_run_has_its_own_state(runs: list[UUID], page: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_states, "PAGE", page)
    states = RunStates(0.0)
    for run in runs:
        states.follow(run)
    found = [states.of(run) for run in runs]
    assert [state.name for state in found if state] == [*["Running"] * 4, "Completed"]
    assert found[-1] is not None
    assert found[-1].message == "done"
    states.forget(runs[0])
    assert states.of(runs[0]) is None
    unknown = uuid4()
    states.follow(unknown)
    assert states.of(unknown) is None


def test_many_threads_ask_the_server_as_often_as_one(runs: list[UUID], answers: list[float]):
    states = RunStates(1.0)
    for run in runs:
        states.follow(run)
    with ThreadPoolExecutor(16) as pool:
        asking = [pool.submit(copy_context().run, states.of, run) for run in runs * 20]
    assert all(each.result() for each in asking)
    assert len(answers) == 1
    time.sleep(1.0)
    assert states.of(runs[0])
    assert len(answers) == 2
