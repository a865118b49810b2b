"""Faults injected during `train_bestie` on a worker: the state names them, nothing is left, the next run resumes."""

import re
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import psutil
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling

from tests import workspace as ws
from tests.clones import Clone
from tests.flows.cluster import SLOW_S, Cluster, Worker, at_work_in, stage_process
from tests.flows.prefect_server import Server, eventually

pytestmark = pytest.mark.slow  # each fault takes a worker, two runs of a training, and up to two minutes to be seen

STAGE = "train_bestie"
#: The state must tell the truth within this time.
TRUTH_S = 120
#: A process that is asked to end has some seconds for it.
END_S = 60


@pytest.fixture(scope="module")
def cluster(recorded: Clone, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A remote with the recorded run, and the deployments."""
    made = Cluster(tmp_path_factory.mktemp("cluster"), recorded, server)
    pusher = made.clone("pusher")
    pusher.dvc("cache", "dir", "--local", str(recorded.folder / ".dvc" / "cache"))
    pusher.dvc("push", "--quiet", "--run-cache")
    made.deploy(pusher)
    yield made
    made.end()


class Training:
    """A forced run of the training on a worker in a clone of its own, caught after its first checkpoint."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.clone = cluster, cluster.clone(name)
        self.worker: Worker = cluster.worker(self.clone, "gpu")
        self.run: FlowRun = cluster.start_stage(STAGE, pool="gpu", clone=self.clone)
        self.process = eventually(self._trains, within_s=SLOW_S, every_s=0.02)

    def _trains(self) -> psutil.Process | None:
        state = self.cluster.server.flow_run(self.run.id).state
        assert state is None or not state.is_final(), state
        checkpoints = self.clone.folder / ".bestie" / STAGE
        return stage_process(self.clone, STAGE) if list(checkpoints.glob("*/state.pt")) else None

    def again(self) -> None:
        """Run again: it completes, continues where it was, and writes what an undisturbed run wrote."""
        if self.worker.process.poll() is not None:
            self.worker = self.cluster.worker(self.clone, "gpu")
        run = self.cluster.wait(self.cluster.start_stage(STAGE, pool="gpu", clone=self.clone))
        assert run.state is not None
        assert run.state.is_completed(), run.state.message
        self.resumed(run)

    def resumed(self, run: FlowRun) -> None:
        log = eventually(lambda: self.cluster.log(run), within_s=END_S)
        assert re.search(rf"{STAGE}: continues at step [1-9]\d* of 84", log), log

    def artifacts(self) -> dict[str, str]:
        with chdir(self.clone.folder):
            return ws.stage_digests(STAGE)


@pytest.fixture
def training(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Training]:
    """A training under way. Its worker ends with the test: another one would take the runs of the next test."""
    started = Training(cluster, request.node.name.removeprefix("test_a_run_")[:40])
    yield started
    cluster.end()


@pytest.fixture
def expected(finished: Path) -> dict[str, str]:
    """What an undisturbed run writes."""
    with chdir(finished):
        return ws.stage_digests(STAGE)


def kill(process: psutil.Process) -> None:
    process.kill()
    process.wait(timeout=END_S)


def test_a_killed_stage_is_a_fault_of_the_infrastructure(training: Training, expected: dict[str, str]):
    training.process.kill()

    run = training.cluster.wait(training.run, within_s=TRUTH_S)

    assert run.state_name == "InfrastructureError"
    assert run.state is not None
    assert "train_bestie was killed by signal 9" in (run.state.message or "")
    eventually(lambda: at_work_in(training.clone) == [], within_s=END_S)
    training.again()
    assert training.artifacts() == expected


def test_a_run_whose_worker_was_killed_ends_as_crashed(training: Training, expected: dict[str, str]):
    training.worker.kill()

    run = training.cluster.wait(training.run, within_s=TRUTH_S)

    assert run.state_name == "Crashed"
    assert run.state is not None
    assert "The worker of this run is gone" in (run.state.message or "")
    eventually(lambda: at_work_in(training.clone) == [], within_s=END_S)
    training.again()
    assert training.artifacts() == expected


def test_a_run_whose_worker_and_engine_were_killed_is_found_by_its_silence(
    training: Training, expected: dict[str, str]
):
    engines = training.worker.engines()
    training.worker.kill()
    for engine in engines:
        kill(engine)

    eventually(lambda: at_work_in(training.clone) == [], within_s=END_S)
    run = training.cluster.wait(training.run, within_s=TRUTH_S)

    assert run.state_name == "Crashed"
    assert run.state is not None
    assert "No heartbeat" in (run.state.message or "")
    training.again()
    assert training.artifacts() == expected


def test_a_run_goes_on_while_the_server_restarts(training: Training, expected: dict[str, str]):
    training.cluster.server.stop()
    training.cluster.server.start()

    run = training.cluster.wait(training.run)

    assert run.state_name == "Completed", run.state
    assert training.artifacts() == expected
    eventually(training.cluster.gpu_is_free, within_s=END_S)
    eventually(lambda: at_work_in(training.clone) == [], within_s=END_S)


def test_a_run_that_is_cancelled_leaves_nothing_behind(training: Training, expected: dict[str, str]):
    with training.cluster.server.client() as client:
        client.set_flow_run_state(training.run.id, Cancelling())

    run = training.cluster.wait(training.run, within_s=TRUTH_S)

    assert run.state_name == "Cancelled"
    eventually(lambda: at_work_in(training.clone) == [], within_s=END_S)
    training.again()
    assert training.artifacts() == expected
