"""The pipeline as a flow on one machine, with a real server and the real stages."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Collection
from statistics import median

import psutil
import pytest
from prefect.client.schemas.objects import State
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelling, Running

from flows.graph import is_unchanged
from flows.leftovers import workspace_tag
from flows.locks import workspace_lock
from flows.pipeline import pipeline
from tests import workspace as ws
from tests.clones import Clone
from tests.flows.cluster import SLOW_S, at_work_in, stage_process
from tests.flows.prefect_server import Server, eventually


def run(**parameters: object) -> tuple[str, State]:
    """Run the pipeline in the working directory; returns the run's id and its last state."""
    state = pipeline(**parameters, return_state=True)
    return str(state.state_details.flow_run_id), state


def states_of(server: Server, run_id: str, names: Collection[str]) -> dict[str, str]:
    """The names of the last states of a run's task runs, `names` among them."""
    runs = server.task_runs(run_id, names)
    return {name: run.state.name for name, run in runs.items() if run.state is not None}


def test_stages_that_are_up_to_date_are_cached_and_drawn_as_in_dvc_dag(
    server: Server, cached_run: tuple[str, State], recorded: Clone
):
    run_id, state = cached_run

    assert state.is_completed()
    assert "All stages are up to date." in (state.message or "")
    assert states_of(server, run_id, ws.STAGES) == dict.fromkeys(ws.STAGES, "Cached")
    runs = server.task_runs(run_id, ws.STAGES)
    seconds = {name: task.total_run_time.total_seconds() for name, task in runs.items()}
    assert median(seconds.values()) < 2, seconds
    with server.client() as client:
        graph = client.request("GET", f"/flow_runs/{run_id}/graph-v2").json()
    nodes = {node["id"]: node for _, node in graph["nodes"]}
    drawn = {(nodes[parent["id"]]["label"], node["label"]) for node in nodes.values() for parent in node["parents"]}
    dag = recorded.dvc("dag", "--dot")
    assert drawn == set(re.findall(r'"(\w+)" -> "(\w+)"', dag))


def test_a_changed_parameter_runs_its_stage_and_shows_what_came_of_it(server: Server, clone: Clone):
    run_id, state = run(set_params=["evaluate.min_area_px=30"])

    assert state.is_completed()
    assert states_of(server, run_id, ws.STAGES) == dict.fromkeys(ws.STAGES, "Cached") | {"evaluate": "Completed"}
    assert is_unchanged(clone.folder, "evaluate")
    found = server.artifacts(run_id)
    rows = {row["metric"]: row for row in json.loads(found["metrics-smoke"]["data"])}
    assert rows["semantic_miou"].keys() == {"metric", "value", "last run", "change"}
    assert "instances on `smoke`" in found["pseudo-labels-smoke"]["data"]
    assert found["warnings-smoke"]["description"].startswith("Warnings of the last run on smoke: ")
    assert found["contact-sheet-smoke"]["data"].startswith("![contact sheet](data:image/jpeg;base64,/9j/")
    assert "of 8" in found["progress"]["description"]
    command = re.search(r"git add .*", found["summary-smoke"]["data"])
    assert command
    clone.run("bash", "-c", command.group())
    assert clone.run("git", "status", "--porcelain") == ""
    tags = server.flow_run(run_id).tags
    assert {tag.split(":")[0] for tag in tags} == {"workspace", "data", "version", "labels", "commit"}
    version = next(tag.removeprefix("version:") for tag in tags if tag.startswith("version:"))
    assert server.flow_run(run_id).name.startswith(f"smoke {version} (")


def test_the_next_run_shows_the_change_of_the_metrics(server: Server, clone: Clone):
    run(targets=["evaluate"])
    path = clone.folder / "data" / "evaluate" / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    metrics["semantic_miou"] += 0.25
    path.unlink()
    path.write_text(json.dumps(metrics), encoding="utf-8")
    clone.dvc("commit", "--force", "evaluate")

    run_id, _ = run(targets=["evaluate"])

    rows = json.loads(server.artifacts(run_id)["metrics-smoke"]["data"])
    changed = {row["metric"]: row["change"] for row in rows if row["change"] != "0"}
    assert changed == {"semantic_miou": "+0.25"}


def test_a_stage_that_fails_says_why_is_not_retried_and_holds_back_what_needs_it(server: Server, clone: Clone):
    run_id, state = run(targets=["import_wsss"], set_params=["prepare.train_list=nowhere"])

    assert state.is_failed()
    expected = {"prepare": "Failed", "import_wsss": "NotReady"}
    assert states_of(server, run_id, expected) == expected
    failed = server.task_runs(run_id, expected)["prepare"]
    assert failed.run_count == 1
    assert failed.state is not None
    assert (failed.state.message or "").startswith("prepare failed:\nprepare: ")
    assert "nowhere.txt" in (failed.state.message or "")
    assert (state.message or "").endswith("Not run: import_wsss.")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"targets": ["train"]}, "there is no stage 'train'"),
        ({"profile": "none"}, "profile 'none' does not exist"),
        ({"set_params": ["evaluate.flop=true"]}, "params.yaml: unknown key 'evaluate.flop'"),
        ({"revision": "v9"}, "there is no revision 'v9'"),
    ],
)
def test_a_wrong_request_changes_nothing_and_says_what_is_wrong(
    server: Server, clone: Clone, parameters: dict[str, object], message: str
):
    _, state = run(**parameters)
    assert state.is_failed()
    assert message in (state.message or "")
    assert clone.run("git", "status", "--porcelain") == ""


def test_a_second_run_in_a_workspace_is_refused_by_name_and_touches_nothing(server: Server, clone: Clone):
    with workspace_lock(clone.folder, "pipeline run 'first'"):
        _, state = run(set_params=["evaluate.min_area_px=30"])
    assert state.is_failed()
    assert "is in use by pipeline run 'first'" in (state.message or "")
    assert clone.run("git", "status", "--porcelain") == ""


def test_a_run_that_still_says_it_runs_in_a_free_workspace_is_corrected(server: Server, clone: Clone):
    with server.client() as client:
        dead = client.create_flow_run(pipeline, state=Running(), tags=[workspace_tag(clone.folder)])
    run(targets=["prepare"])
    state = server.flow_run(dead.id).state
    assert state is not None
    assert state.is_crashed()
    assert "was killed" in (state.message or "")


def start(clone: Clone, server: Server, *arguments: str) -> subprocess.Popen[bytes]:
    """`python -m flows.pipeline` as a person starts it: Ctrl-C works, even where these tests run without a terminal."""
    environment = clone.environment | server.environment | {"BESTIE_CHECKPOINT_MINUTES": "0", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "flows.pipeline", *arguments],
        cwd=clone.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.slow  # two processes that import Prefect anew
def test_of_two_runs_started_at_once_one_is_refused_and_the_other_is_not_disturbed(server: Server, clone: Clone):
    both = [start(clone, server, "import_wsss", "--force") for _ in range(2)]
    assert sorted(process.wait(timeout=SLOW_S) for process in both) == [0, 1]

    with server.client() as client:
        newest = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=2)
    done, refused = sorted(newest, key=lambda run: run.state_name or "")
    assert (done.state_name, refused.state_name) == ("Completed", "Failed")
    assert refused.state is not None
    holder = re.search(r"is in use by pipeline run '([\w-]+)'", refused.state.message or "")
    assert holder
    assert done.name.endswith(f"({holder.group(1)})")
    assert not {"prepare", "import_wsss"} & clone.changed()


def training(clone: Clone) -> psutil.Process | None:
    """The process of the training, after its first checkpoint."""
    checkpoints = (clone.folder / ".bestie" / "train_bestie").glob("*/state.pt")
    return stage_process(clone, "train_bestie") if list(checkpoints) else None


@pytest.mark.parametrize("how", ["Cancel in the UI", pytest.param("Ctrl-C", marks=pytest.mark.slow)])
def test_a_run_that_is_stopped_ends_its_stages_and_is_cancelled(server: Server, clone: Clone, how: str):
    process = start(clone, server, "train_bestie", "-S", "train_bestie.epochs=1000")
    try:
        stage = eventually(lambda: training(clone), within_s=SLOW_S, every_s=0.1)
        assert stage is not None
        (found,) = server.runs_with_tag(workspace_tag(clone.folder))
        if how == "Ctrl-C":
            process.send_signal(signal.SIGINT)
        else:
            with server.client() as client:
                client.set_flow_run_state(found.id, Cancelling())
        assert process.wait(timeout=SLOW_S) == 1
    finally:
        process.kill()
        process.wait()
    assert server.flow_run(found.id).state_name == "Cancelled"
    assert at_work_in(clone) == []
    states = states_of(server, str(found.id), ["train_bestie"])
    assert states["train_bestie"] == "Cancelled"


@pytest.mark.slow  # two runs of a training, and the pause before an attempt
def test_a_killed_stage_is_tried_again_and_continues(server: Server, clone: Clone, finished_bytes: dict[str, str]):
    process = start(clone, server, "train_bestie", "--force")
    stage = eventually(lambda: training(clone), within_s=SLOW_S, every_s=0.02)
    assert stage is not None
    stage.kill()

    assert process.wait(timeout=SLOW_S) == 0

    (found,) = server.runs_with_tag(workspace_tag(clone.folder))
    task = server.task_runs(found.id, ["train_bestie"])["train_bestie"]
    assert task.run_count == 2
    assert ws.stage_digests("train_bestie") == finished_bytes
    assert at_work_in(clone) == []


@pytest.fixture
def finished_bytes(clone: Clone) -> dict[str, str]:
    """What the recorded run of the training wrote."""
    return ws.stage_digests("train_bestie")


@pytest.mark.slow  # runs the pipeline and `dvc repro`, on a machine that does nothing else
@pytest.mark.skipif((os.getloadavg()[0] > 1), reason="other work would be measured")
def test_the_flow_costs_at_most_two_seconds_a_stage_more_than_dvc_repro(server: Server, clone: Clone):
    import time

    started = time.monotonic()
    clone.dvc("repro", "--force")
    plain_s = time.monotonic() - started
    started = time.monotonic()
    assert start(clone, server, "--force").wait() == 0
    flow_s = time.monotonic() - started
    assert (flow_s - plain_s) / len(ws.STAGES) <= 2
