"""The pipeline on two workers with clones of their own, which meet through git, a DVC remote and the server."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir
from functools import partial
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment

from tests import workspace as ws
from tests.clones import Clone, make_clone
from tests.flows.cluster import SLOW_S, Cluster, at_work_in, stage_process
from tests.flows.prefect_server import Server, eventually

pytestmark = pytest.mark.slow  # all stages on workers, each a flow run that imports Prefect and DVC anew

POOLS = {name: entry["meta"]["pool"] for name, entry in ws.dvc_stages().items()}


@pytest.fixture
def cluster(server: Server, tmp_path: Path) -> Iterator[Cluster]:
    """An origin with the code alone: nothing has run yet."""
    source = make_clone(tmp_path / "source")
    source.commit("the code")
    made = Cluster(tmp_path, source, server)
    yield made
    made.end()


def nobody_works_in(clone: Clone) -> bool:
    return at_work_in(clone) == []


def start_pipeline(**parameters: object) -> FlowRun:
    run = run_deployment("pipeline/pipeline", parameters=parameters, timeout=0)
    assert isinstance(run, FlowRun)
    return run


def test_two_workers_run_each_stage_once_and_any_clone_restores_it_all(cluster: Cluster, finished: Path):
    on_cpu, on_gpu = cluster.clone("on-cpu"), cluster.clone("on-gpu")
    cluster.deploy(on_cpu)
    workers = {"cpu": cluster.worker(on_cpu, "cpu"), "gpu": cluster.worker(on_gpu, "gpu")}

    run = cluster.wait(start_pipeline(), within_s=4 * SLOW_S)

    assert run.state is not None
    assert run.state.is_completed(), run.state.message
    ran = cluster.runs_of(run)
    assert Counter(each.name.split()[0] for each in ran) == dict.fromkeys(ws.STAGES, 1)
    assert {each.name.split()[0]: each.work_pool_name for each in ran} == POOLS
    for pool, worker in workers.items():
        log = worker.log.read_text(encoding="utf-8")
        assert set(re.findall(r"> python -m stages\.(\w+)", log)) == {name for name in POOLS if POOLS[name] == pool}
        eventually(partial(nobody_works_in, worker.clone))  # a run says Completed a moment before its process ends

    command = re.search(r"git add .*", run.state.message or "")
    assert command
    on_cpu.run("bash", "-c", command.group())
    on_cpu.run("git", "push", "--quiet", "origin", "HEAD:refs/heads/recorded")
    third = cluster.clone("third")
    third.run("git", "checkout", "--quiet", "recorded")
    third.dvc("pull", "--quiet")
    assert third.json("status") == {}
    for stage in ws.STAGES:
        with chdir(finished):
            expected = ws.stage_digests(stage)
        with chdir(third.folder):
            assert ws.stage_digests(stage) == expected, stage
    again = cluster.clone("without-a-lock")
    restored = again.dvc("repro", "--pull")
    assert restored.count("is cached - skipping run, checking out outputs") == len(ws.STAGES)


def test_the_pipeline_asks_again_for_a_stage_whose_worker_was_lost(cluster: Cluster, finished: Path):
    on_cpu, on_gpu = cluster.clone("on-cpu"), cluster.clone("on-gpu")
    cluster.deploy(on_cpu)
    cluster.worker(on_cpu, "cpu")
    lost = cluster.worker(on_gpu, "gpu")
    run = start_pipeline(targets=["train_pam"])

    def first_checkpoint() -> bool:
        return bool(list((on_gpu.folder / ".bestie" / "train_pam").glob("*/state.pt")))

    eventually(first_checkpoint, within_s=2 * SLOW_S, every_s=0.02)
    assert stage_process(on_gpu, "train_pam")
    lost.kill()
    eventually(partial(nobody_works_in, on_gpu))
    cluster.worker(on_gpu, "gpu")

    ended = cluster.wait(run, within_s=2 * SLOW_S)

    assert ended.state is not None
    assert ended.state.is_completed(), ended.state.message
    of_training = [each for each in cluster.runs_of(run) if each.name.startswith("train_pam")]
    assert sorted(each.state_name or "" for each in of_training) == ["Completed", "Crashed"]
    with chdir(finished):
        expected = ws.stage_digests("train_pam")
    with chdir(on_gpu.folder):
        assert ws.stage_digests("train_pam") == expected


def test_a_worker_refuses_a_stage_of_another_pool(cluster: Cluster):
    on_cpu = cluster.clone("on-cpu")
    cluster.deploy(on_cpu)
    cluster.worker(on_cpu, "cpu")
    parameters = {
        "name": "train_pam",
        "revision": cluster.commit,
        "params": on_cpu.run("git", "show", "HEAD:params.yaml"),
        "lock": "",
    }
    asked = run_deployment("stage/stage-cpu", parameters=parameters, timeout=0)
    assert isinstance(asked, FlowRun)

    run = cluster.wait(asked)

    assert run.state is not None
    assert run.state.is_failed()
    assert "stage 'train_pam' belongs to the pool 'gpu'" in (run.state.message or "")
    assert not (on_cpu.folder / "data" / "train_pam").exists()


def test_of_two_runs_of_the_deployment_one_waits_and_finds_all_done(cluster: Cluster):
    on_cpu = cluster.clone("on-cpu")
    cluster.deploy(on_cpu)
    worker = cluster.worker(on_cpu, "cpu")
    runs = [start_pipeline(targets=["prepare"]) for _ in range(2)]

    eventually(lambda: "AwaitingConcurrencySlot" in map(cluster.state_name, runs), within_s=SLOW_S)
    ended = [cluster.wait(run) for run in runs]

    messages = sorted((run.state.message or "").splitlines()[0] for run in ended if run.state is not None)
    assert messages == ["All stages are up to date.", "Ran prepare; 0 of 1 stages were up to date."]
    assert worker.log.read_text(encoding="utf-8").count("> python -m stages.prepare") == 1
