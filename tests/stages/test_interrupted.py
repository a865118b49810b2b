"""Ctrl-C in any stage: it ends soon, says so, and every file with its final name is complete."""

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bestie.artifacts.paths import OWN_MAPS
from tests import workspace as ws

#: Of the stages on the smallest data set the fastest takes ten times as long.
AFTER_S = 0.01


def interrupt_when_it_runs(usual: object) -> None:
    """Send SIGINT once the stage has taken over from the `usual` handler, and no more when it has given it back."""
    while signal.getsignal(signal.SIGINT) is usual:
        time.sleep(0.001)
    time.sleep(AFTER_S)
    if signal.getsignal(signal.SIGINT) is not usual:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def collected() -> Iterator[None]:
    """Collect what the test has left while its own filter of warnings holds, not in a later test."""
    yield
    gc.collect()


# A signal between open() and the block that closes the file leaves it to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize("stage", ws.STAGES)
def test_ctrl_c_ends_a_stage_soon_and_leaves_whole_files(workspace: Path, stage: str, capsys: pytest.CaptureFixture):
    if stage in ("train_wsss", "make_wsss"):
        ws.set_params(f"import_wsss.source={OWN_MAPS}")
        ws.run("train_wsss", "make_wsss")
    whole = ws.stage_digests(stage)
    usual = signal.getsignal(signal.SIGINT)
    sender = threading.Thread(target=interrupt_when_it_runs, args=(usual,))
    sender.start()
    started = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        ws.run_program(stage)
    sender.join()
    assert time.monotonic() - started < 5 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert ended.value.code == 128 + signal.SIGINT
    assert f"{stage}: stopped by SIGINT; start again to continue" in capsys.readouterr().err
    assert ws.stage_digests(stage).items() <= whole.items()
