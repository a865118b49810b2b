"""Signals: a training finishes its step and writes a checkpoint; a second signal or a long step does not wait."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bestie.runtime import signals
from bestie.runtime.signals import StoppedError, deferred, stop_behind, stoppable
from bestie.training.checkpoints import Checkpoints
from tests.unit.test_training_loop import EPOCHS, make_loop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_raises_and_handlers_are_put_back(number: signal.Signals):
    before = signal.getsignal(number)
    with pytest.raises(StoppedError, match=f"stopped by {number.name}"), stoppable():
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert signal.getsignal(number) is before


def test_a_signal_is_found_behind_the_error_of_what_it_interrupted():
    stop = StoppedError(signal.SIGINT)
    try:
        try:
            raise stop
        finally:
            os.close(-1)
    except OSError as error:
        assert stop_behind(error) is stop
    assert stop_behind(OSError()) is None


def test_a_signal_waits_for_the_end_of_a_step():
    done = []
    with deferred() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        done.append("step")
        assert request.came()
        with pytest.raises(StoppedError):
            request.check()
    assert done == ["step"]
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_a_second_signal_does_not_wait():
    with pytest.raises(StoppedError), deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)


def test_a_long_step_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(signals, "PATIENCE_S", 0.1)
    started = time.monotonic()
    with pytest.raises(StoppedError), deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
    assert time.monotonic() - started < 10


def test_another_thread_leaves_signals_alone():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with stoppable(), deferred() as request:
            seen.append((signal.getsignal(signal.SIGTERM), request.came()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, False)]


@pytest.mark.parametrize("stops_at", [0, 2, 5])
def test_a_stopped_training_continues_where_it_was(tmp_path: Path, stops_at: int):
    expected_loop, seen = make_loop()
    expected = expected_loop.run()
    stopped, _ = make_loop(checkpoints=Checkpoints(tmp_path, "a", minutes=60))
    real = stopped.step

    def step(batch: Tensor, clock: Any) -> dict[str, Tensor]:
        if clock.step == stops_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(batch, clock)

    stopped.step = step
    with pytest.raises(StoppedError):
        stopped.run()

    torch.manual_seed(99)
    resumed, seen_later = make_loop(checkpoints=Checkpoints(tmp_path, "a", minutes=60))
    assert resumed.run() == expected
    assert seen_later == seen[stops_at + 1 :]


def test_a_signal_at_the_end_of_an_epoch_keeps_its_steps(tmp_path: Path):
    def end(epoch: int) -> dict[str, float]:
        if epoch == 2 and first:
            first.pop()
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        return {"extra": float(epoch)}

    first: list[int] = []
    whole, seen = make_loop(epoch_end=end)
    expected = whole.run()
    first.append(1)
    stopped, _ = make_loop(epoch_end=end, checkpoints=Checkpoints(tmp_path, "a", minutes=60))
    with pytest.raises(StoppedError):
        stopped.run()
    resumed, seen_later = make_loop(epoch_end=end, checkpoints=Checkpoints(tmp_path, "a", minutes=60))
    assert resumed.run() == expected
    assert [epoch for epoch, _, _ in seen_later] == [k for k in range(2, EPOCHS) for _ in range(3)]
    assert seen_later == seen[6:]
