"""What ends a run from outside: here, the server's view of it."""

import time
from uuid import UUID

import pytest
from prefect import flow
from prefect.states import Crashed, Running

from flows.faults import CancelledError
from flows.stopping import POLL_S, Stop, Watch
from tests.flows.prefect_server import Server, eventually


@pytest.fixture
def crashed(server: Server) -> UUID:
    """A run that the server counts as crashed although it goes on."""

    @flow(name="sleeper")
    def sleeper() -> None:
        pass

    with server.client() as client:
        run = client.create_flow_run(sleeper, state=Running())
        client.set_flow_run_state(run.id, Crashed(message="No heartbeat for a while."), force=True)
    return run.id


@pytest.fixture
def stop() -> Stop:
    return Stop()


def test_a_run_on_a_worker_ends_when_it_was_given_up(crashed: UUID, stop: Stop):
    def has_ended() -> str:
        try:
            stop.check()
        except CancelledError as error:
            return str(error)
        return ""

    with Watch(stop, crashed, given_up=True):
        assert eventually(has_ended) == "No heartbeat for a while."
    assert stop.state().is_crashed()


def test_a_run_that_a_user_started_goes_on(crashed: UUID, stop: Stop):
    with Watch(stop, crashed):
        time.sleep(3 * POLL_S)
        stop.check()
