"""Stages in two processes: maps and tables have the bytes of one process, and trainings come close to it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from bestie.artifacts import maps
from tests import workspace as ws

SHARD_ROWS, ROWS_AT_ONCE = 4, 2
IN_SMALL_SHARDS = f"""
import runpy
from bestie.artifacts import maps
maps.SHARD_ROWS, maps.ROWS_AT_ONCE = {SHARD_ROWS}, {ROWS_AT_ONCE}
runpy.run_module("stages.%s", run_name="__main__")
"""


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """Bytes are compared with those of processes that have one thread each."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def start(*arguments: str, **settings: str) -> subprocess.Popen[str]:
    """Start Python in the working directory, with two processes for a stage."""
    environment = os.environ | {"PYTHONPATH": str(ws.ROOT), "OMP_NUM_THREADS": "1", "BESTIE_PROCESSES": "2"}
    return subprocess.Popen([sys.executable, *arguments], env=environment | settings, stderr=subprocess.PIPE, text=True)


def run_in_two(*arguments: str, **settings: str) -> str:
    """Run Python with two processes for a stage to its end; returns what it said."""
    process = start(*arguments, **settings)
    _, said = process.communicate()
    assert process.returncode == 0, said
    return said


def run_on_two_hosts(*arguments: str) -> None:
    """Run what torchrun gets on two hosts that share this folder, each with one process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"--master-addr=127.0.0.1 --master-port={free.getsockname()[1]}".split()
    hosts = [
        start(
            "-m",
            "torch.distributed.run",
            "--nnodes=2",
            f"--node-rank={number}",
            "--nproc-per-node=1",
            *address,
            *arguments,
        )
        for number in range(2)
    ]
    for host in hosts:
        _, said = host.communicate()
        assert host.returncode == 0, said


@pytest.mark.parametrize(
    "stage",
    [
        "make_pseudo_labels",
        pytest.param("extract_cues", marks=pytest.mark.slow),
        pytest.param("export_mrcnn", marks=pytest.mark.slow),
        pytest.param("evaluate", marks=pytest.mark.slow),
    ],
)
def test_two_processes_write_the_bytes_of_one(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, _one_thread: None, stage: str
):
    monkeypatch.setattr(maps, "SHARD_ROWS", SHARD_ROWS)
    monkeypatch.setattr(maps, "ROWS_AT_ONCE", ROWS_AT_ONCE)
    ws.run(stage)
    alone = ws.stage_digests(stage)

    run_in_two("-c", IN_SMALL_SHARDS % stage)

    assert ws.stage_digests(stage) == alone
    assert not list(Path("data", stage).glob(".*"))
    if stage in ("extract_cues", "make_pseudo_labels"):
        assert len([name for name in alone if "/c/" in name]) >= 3  # more than one shard a process


@pytest.mark.slow  # two launchers, each with a process that starts anew
@pytest.mark.parametrize("stage", ["extract_cues", "evaluate"])
def test_hosts_that_share_the_folder_write_the_bytes_of_one(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, _one_thread: None, stage: str
):
    monkeypatch.setattr(maps, "SHARD_ROWS", SHARD_ROWS)
    monkeypatch.setattr(maps, "ROWS_AT_ONCE", ROWS_AT_ONCE)
    ws.run(stage)
    alone = ws.stage_digests(stage)
    run_on_two_hosts("--no-python", sys.executable, "-c", IN_SMALL_SHARDS % stage)
    assert ws.stage_digests(stage) == alone


@pytest.mark.slow  # two launchers, each with a process that starts anew
@pytest.mark.parametrize("stage", ["train_bestie", "train_mrcnn"])
def test_a_training_on_two_hosts_has_the_bytes_of_one_with_two_processes(workspace: Path, stage: str):
    run_in_two("-m", f"stages.{stage}")
    on_one_host = ws.stage_digests(stage)
    shutil.rmtree(Path("data", stage))
    run_on_two_hosts("-m", f"stages.{stage}")
    assert ws.stage_digests(stage) == on_one_host
    assert not list(Path(".bestie").glob(f"{stage}/*/state.pt"))


@pytest.mark.parametrize(
    ("stage", "tolerance"),
    [
        pytest.param("train_bestie", 0.15, marks=pytest.mark.slow),
        pytest.param("train_pam", 0.1, marks=pytest.mark.slow),
        pytest.param("train_mrcnn", 0.3, marks=pytest.mark.slow),
    ],
)
def test_a_training_in_two_processes_comes_close_to_one_in_one(workspace: Path, stage: str, tolerance: float):
    def history() -> list[dict[str, float]]:
        return json.loads(Path("data", stage, "history.json").read_text(encoding="utf-8"))

    alone = history()
    said = run_in_two("-m", f"stages.{stage}")

    assert "done in" in said
    assert "Warning" not in said, said
    assert ws.stage_digests(stage)
    totals = [[row["total"] for row in rows] for rows in (alone, history())]
    assert totals[0] != totals[1]  # batch statistics are those of half a batch
    assert totals[1] == pytest.approx(totals[0], rel=tolerance)


@pytest.mark.slow  # two trainings, each in processes that start anew
def test_processes_end_with_the_one_that_started_them_and_a_later_run_continues(workspace: Path):
    run_in_two("-m", "stages.train_bestie")
    undisturbed = ws.stage_digests("train_bestie")
    process = start("-m", "stages.train_bestie", BESTIE_CHECKPOINT_MINUTES="0")
    while not list(Path(".bestie", "train_bestie").glob("*/state.pt")):
        assert process.poll() is None
        time.sleep(0.05)
    helpers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    psutil.wait_procs(helpers, timeout=60)
    assert len(helpers) >= 2
    assert not [each for each in helpers if each.is_running()]

    said = run_in_two("-m", "stages.train_bestie")

    assert said.count("continues at step") == 1
    assert ws.stage_digests("train_bestie") == undisturbed


@pytest.mark.slow  # processes that start anew
def test_a_killed_process_ends_the_others_and_is_told_by_the_exit_status(workspace: Path):
    process = start("-m", "stages.train_bestie", BESTIE_CHECKPOINT_MINUTES="0")
    while not list(Path(".bestie", "train_bestie").glob("*/state.pt")):
        assert process.poll() is None
        time.sleep(0.05)
    helpers = psutil.Process(process.pid).children()
    helpers[-1].kill()
    _, said = process.communicate()
    assert process.returncode == 128 + signal.SIGKILL, said
    assert not [each for each in helpers if each.is_running()]


@pytest.mark.slow  # processes that start anew
def test_what_is_wrong_for_all_processes_is_said_once(workspace: Path):
    Path("data", "make_pseudo_labels", "instances.parquet").unlink()
    process = start("-m", "stages.train_bestie")
    _, said = process.communicate()
    assert process.returncode == 1
    assert said.count("instances.parquet does not exist") == 1
    assert "Traceback" not in said
