"""Stages in parts on workers with clones of their own, which meet through the DVC remote."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir
from functools import partial
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.states import Cancelling

from flows.lock_entries import read_lock_entries
from tests import workspace as ws
from tests.clones import Clone, make_clone
from tests.flows.cluster import SLOW_S, Cluster, Worker, at_work_in, command, commit_without
from tests.flows.prefect_server import Server, eventually

pytestmark = pytest.mark.slow  # workers, each of whose runs imports Prefect and DVC anew

SPREAD = {"extract_cues": 2, "make_pseudo_labels": 3}
#: Three shards; more images than the other tests have, and a training that is as short as can be.
SIZE = ("prepare.shapes.num_train=520", "train_pam.epochs=1", "train_pam.plain_epochs=1")
PARTS = Path(".bestie", "parts")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which `dvc repro` ran alone, and whose commit does not know of the stages to spread."""
    clone = make_clone(tmp_path_factory.mktemp("alone") / "clone")
    with chdir(clone.folder):
        ws.set_params(*SIZE)
    clone.environment["OMP_NUM_THREADS"] = "1"
    clone.dvc("repro", "make_pseudo_labels")
    commit_without(clone, SPREAD)
    return clone


@pytest.fixture
def cluster(server: Server, alone: Clone, tmp_path: Path) -> Iterator[Cluster]:
    """An origin whose remote has what comes before the stages to spread."""
    made = Cluster(tmp_path, alone, server)
    alone.dvc("remote", "add", "--quiet", "--force", "--local", "--default", "storage", str(made.remote))
    alone.dvc("push", "--quiet", "prepare", "train_pam", "import_wsss")
    yield made
    made.end()


def digests(clone: Clone, stage: str) -> dict[str, str]:
    with chdir(clone.folder):
        return ws.stage_digests(stage)


def start(**parameters: object) -> FlowRun:
    run = run_deployment("pipeline/pipeline", parameters={"spread": SPREAD, **parameters}, timeout=0)
    assert isinstance(run, FlowRun)
    return run


def parts_computed(worker: Worker) -> int:
    """How many parts a worker has computed and handed over."""
    log = worker.log.read_text(encoding="utf-8")
    return len(re.findall(r"Flow run 'part .* - Finished in state Completed\('computed part ", log))


def computes_a_part(clone: Clone) -> bool:
    """Whether the stage's process runs in a clone without DVC around it."""
    commands = [command(process) for process in at_work_in(clone)]
    return any("-m stages." in each for each in commands) and not any(" repro " in each for each in commands)


def nobody_works_in(clone: Clone) -> bool:
    return at_work_in(clone) == []


def test_two_workers_share_a_stage_and_the_next_run_computes_nothing(cluster: Cluster, alone: Clone):
    first, second = cluster.clone("first"), cluster.clone("second")
    cluster.deploy(first)
    workers = [cluster.worker(first, "cpu"), cluster.worker(second, "cpu")]
    cluster.worker(first, "gpu")

    run = cluster.wait(start(targets=["make_pseudo_labels"]), within_s=4 * SLOW_S)

    assert run.state is not None
    assert run.state.is_completed(), run.state.message
    assert "Ran extract_cues, make_pseudo_labels; 3 of 5 stages were up to date." in (run.state.message or "")
    ran = Counter(cluster.states_of_runs(run))
    for stage, count in SPREAD.items():
        assert ran[stage, "ToCompute"] == ran[stage, "Completed"] == 1
        names = [(f"part {number} of {count} of {stage}", "Completed") for number in range(1, count + 1)]
        assert [ran[each] for each in names] == [1] * count
    assert all(parts_computed(worker) for worker in workers)
    assert sum(map(parts_computed, workers)) == SPREAD["make_pseudo_labels"]
    third = cluster.clone("third")
    lock = next(
        c.folder / "dvc.lock" for c in (first, second) if set(SPREAD) <= set(read_lock_entries(c.folder / "dvc.lock"))
    )
    (third.folder / "dvc.lock").write_bytes(lock.read_bytes())
    third.dvc("pull", "--quiet", *SPREAD)
    for stage in SPREAD:
        assert digests(third, stage) == digests(alone, stage), stage
    for clone in (first, second):
        eventually(partial(nobody_works_in, clone))
        assert not [each for each in (clone.folder / PARTS).glob("*") if any(each.iterdir())]

    again = cluster.wait(start(targets=["make_pseudo_labels"]), within_s=4 * SLOW_S)

    assert again.state is not None
    assert (again.state.message or "").startswith("All stages are up to date.")
    assert {state for _, state in cluster.states_of_runs(again)} == {"Cached"}
    assert not [what for what, _ in cluster.states_of_runs(again) if what.startswith("part ")]


def test_a_part_whose_worker_was_lost_is_computed_again_alone_and_a_cancelled_run_leaves_none(
    cluster: Cluster, alone: Clone
):
    first, second = cluster.clone("first"), cluster.clone("second")
    cluster.deploy(first)
    cluster.worker(first, "cpu")
    lost = cluster.worker(second, "gpu")
    run = start(targets=["extract_cues"])
    eventually(lambda: computes_a_part(second), within_s=2 * SLOW_S, every_s=0.1)
    lost.kill()
    eventually(partial(nobody_works_in, second))
    cluster.worker(second, "gpu")

    ended = cluster.wait(run, within_s=2 * SLOW_S)

    assert ended.state is not None
    assert ended.state.is_completed(), ended.state.message
    ran = Counter(
        state for what, state in cluster.states_of_runs(run) if re.match(r"part \d of 2 of extract_cues", what)
    )
    assert ran == {"Crashed": 1, "Completed": 2}
    assert digests(second, "extract_cues") == digests(alone, "extract_cues")

    changed = start(targets=["extract_cues"], set_params=["extract_cues.threshold=0.2"])
    eventually(lambda: computes_a_part(second), within_s=4 * SLOW_S, every_s=0.1)
    with cluster.server.client() as client:
        client.set_flow_run_state(changed.id, Cancelling())

    assert cluster.wait(changed).state_name == "Cancelled"

    def states_of_parts() -> set[str]:
        return {state for what, state in cluster.states_of_runs(changed) if what.startswith("part ")}

    eventually(lambda: states_of_parts() == {"Cancelled"})
    eventually(partial(nobody_works_in, second))
    assert not [each for each in (second.folder / PARTS).glob("*") if any(each.iterdir())]
