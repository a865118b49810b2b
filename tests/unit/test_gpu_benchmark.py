"""The benchmark of a training step, on the CPU: its parts are those of a step, and its table adds up."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.full_batch import make_batch
from benchmarks.gpu import TOGETHER, rows
from benchmarks.step_floor import Speed, floors_ms
from benchmarks.step_parts import PARTS, Stopwatch, TimedStep, time_parts
from bestie.params.params_yaml import Params
from bestie.project.profiles import compose
from bestie.training.loop import Clock
from bestie.training.network_model import create_network
from bestie.training.network_training import InstanceStep
from bestie.training.optimizer import create_optimizer
from tests import workspace as ws


def test_the_parts_of_a_step_are_all_of_it_and_it_computes_what_a_training_does():
    overrides = ["train_bestie.backbone.weights=random", "train_bestie.class_balance=0"]
    params = Params(**compose("smoke", folder=ws.ROOT / "profiles", overrides=overrides)).train_bestie
    network, _ = create_network(params, num_classes=3, previous=Path("none"))
    network.train()
    optimizer = create_optimizer(network, params.optimizer)
    batch = make_batch(2, classes=3, side_px=64)
    given = {"network": network, "params": params, "device": torch.device("cpu")}

    parts = time_parts(TimedStep(**given), optimizer, batch, repeats=3)

    assert tuple(parts) == PARTS
    assert all(value > 0 for value in parts.values())
    network.eval()
    clock = Clock(step=1, steps=2)
    timed, plain = TimedStep(**given), InstanceStep(**given)
    with timed.marks_on(Stopwatch(timed.device)):
        total = timed(batch, clock)["total"]
    assert total == plain(batch, clock)["total"]


def test_the_table_adds_up_and_has_a_floor_for_what_was_counted():
    parts = dict.fromkeys(PARTS, 10.0)
    floors = dict.fromkeys(TOGETHER, 2.0)
    found = {row[0]: row[1:] for row in rows(parts, floors)}
    assert found["network"] == ("20.0", "22%", "2.0")
    assert found["... backward"] == ("10.0", "11%", "")
    assert found["loss, with its maps"] == ("30.0", "33%", "2.0")
    assert found["whole step"] == ("90.0", "100%", "8.0")


def test_the_floor_is_that_of_the_slower_of_computing_and_moving():
    network = torch.nn.Linear(1000, 1000)
    slow_memory = floors_ms("voc2012", network, Speed(flops=1e18, bytes=1e12), images=32, side_px=416)
    assert slow_memory["network"] == pytest.approx(110, rel=0.15)  # 110 GB
    slow_kernels = floors_ms("voc2012", network, Speed(flops=1e13, bytes=1e18), images=32, side_px=416)
    assert slow_kernels["network"] == pytest.approx(1100, rel=0.1)  # 11 TFLOP
    quarter = floors_ms("voc2012", network, Speed(flops=1e13, bytes=1e18), images=32, side_px=208)
    assert 4 * quarter["network"] == pytest.approx(slow_kernels["network"])
    assert slow_memory["optimizer"] == pytest.approx(1_001_000 * 28 / 1e9)


@pytest.mark.slow  # a step of HRNet-W48
def test_the_command_prints_its_tables_without_a_gpu_if_asked_to():
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--images", "1", "--side", "64"]
    ended = subprocess.run([*command, "--repeats", "1"], cwd=ws.ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    for row in ("| whole step |", "| ... forward |", "| images a second |", "| a step, ms: without refinement |"):
        assert row in ended.stdout
