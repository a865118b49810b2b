"""Runs that are killed at any moment reach the same result with `bestie repair && dvc repro`."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests import workspace as ws
from tests.clones import Clone, make_clone
from tests.end_to_end.kills import Harness

SEED = 6


@pytest.fixture
def killed(tmp_path: Path) -> Clone:
    """A clone in which nothing has run."""
    return make_clone(tmp_path / "home" / "clone")


@pytest.mark.slow  # a minute and more: most of the pipeline, three times begun
def test_a_run_that_was_killed_comes_to_the_same_bytes(reproduced: Clone, killed: Clone):
    harness = Harness(killed, reproduced, "make_pseudo_labels", random.Random(SEED))
    harness.kill(2)
    harness.finish()
    assert len(harness.killed_in) == 2


@pytest.mark.slow  # 200 kills over all stages take an hour or two
def test_two_hundred_kills_lose_nothing(reproduced: Clone, killed: Clone):
    times = int(os.environ.get("KILLS", "200"))
    harness = Harness(killed, reproduced, "evaluate", random.Random(SEED))
    harness.kill(times)
    harness.finish()
    print(
        f"{times} kills in {dict(Counter(harness.killed_in))}, {harness.rounds} runs came to their end, "
        f"repair had something to do {len(harness.repairs)} times: {harness.repairs}"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_training_that_is_asked_to_end_does_so_within_five_seconds_with_a_checkpoint(
    workspace: Path, number: signal.Signals
):
    with training() as process:
        assert "Traceback" not in ended(process, lambda: os.killpg(process.pid, number), number)
        assert process.wait() == 128 + number


def test_a_training_whose_dvc_is_killed_alone_ends_too(workspace: Path):
    start = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'stages.train_bestie'])"
    with training("-c", start) as parent:
        assert "Traceback" not in ended(parent, parent.kill, signal.SIGTERM)


@contextmanager
def training(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A long training that has begun, in a session of its own; `command` starts it."""
    ws.set_params("train_bestie.epochs=2000")
    process = subprocess.Popen(
        ["python", *(command or ("-m", "stages.train_bestie"))],
        env={
            **Clone(Path.cwd()).environment,
            "PYTHONPATH": str(ws.ROOT),
            "BESTIE_PROGRESS": "json",
            "DVC_STAGE": "train_bestie",
        },
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        while '"progress": "train_bestie"' not in process.stderr.readline():
            assert process.poll() is None
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


def ended(process: subprocess.Popen[str], end: Callable[[], None], number: signal.Signals) -> str:
    """What a training writes until its end, which comes soon and leaves a checkpoint."""
    assert process.stderr is not None
    started = time.monotonic()
    end()
    said = process.stderr.read()  # to the end of the last process that has it open
    # Other work may share the processor; the promise is about a machine of one's own.
    assert time.monotonic() - started < 5 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert f"train_bestie: stopped by {number.name}; start again to continue" in said
    assert len(list(Path(".bestie/train_bestie").rglob("state.pt"))) == 1
    return said
