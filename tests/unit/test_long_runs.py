"""Many steps of a tiny network: memory, open files and threads stay flat, and the time left is estimated well."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from bestie.runtime.progress import Progress
from bestie.training.checkpoints import Checkpoints
from bestie.training.loop import Loop
from tests.unit.test_training_loop import make_loop

#: A day of steps at five a second.
DAY_STEPS = 24 * 3600 * 5
ALLOWED_MIB = 24


class Sampled(Loop):
    """A loop that looks at its process after every epoch."""

    def _run_epoch(self, *arguments: Any) -> None:
        super()._run_epoch(*arguments)
        process = psutil.Process()
        usage.append((process.memory_info().rss / 2**20, process.num_fds(), threading.active_count()))


usage: list[tuple[float, int, int]] = []


def run_long(epochs: int, steps: int, tmp_path: Path) -> None:
    usage.clear()
    torch.manual_seed(0)
    loop, seen = make_loop(count=3 * steps, epochs=epochs, checkpoints=Checkpoints(tmp_path, "a", minutes=0.05))
    real = loop.step

    def step(batch: torch.Tensor, clock: Any) -> dict[str, torch.Tensor]:
        seen.clear()  # the test's own record would grow
        return real(batch, clock)

    loop.step = step
    loop.__class__ = Sampled
    assert len(loop.run()) == epochs


def assert_flat() -> None:
    """From the second quarter on nothing grows."""
    first, last = usage[len(usage) // 4], usage[-1]
    assert last[0] - first[0] < ALLOWED_MIB, [round(memory) for memory, _, _ in usage]
    assert last[1] <= first[1], [files for _, files, _ in usage]
    assert last[2] <= first[2], [threads for _, _, threads in usage]


def test_hundreds_of_steps_take_no_more_memory_files_or_threads(tmp_path: Path):
    run_long(8, 50, tmp_path)
    assert_flat()


@pytest.mark.slow  # as many steps as a day has at five a second
def test_a_day_of_steps_takes_no_more_memory_files_or_threads(tmp_path: Path):
    run_long(DAY_STEPS // 500, 500, tmp_path)
    assert_flat()


def test_the_time_left_is_what_the_rate_says(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    progress = Progress("a", DAY_STEPS, done=DAY_STEPS // 2, as_json=True)
    for _ in range(1000):
        now += 0.2
        progress.advance()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    for line in lines:
        assert line["remaining_s"] == pytest.approx((DAY_STEPS - line["done"]) * 0.2, rel=0.01)
    assert [line["remaining_s"] for line in lines] == sorted((line["remaining_s"] for line in lines), reverse=True)
    assert len(lines) < 420  # at most two a second
