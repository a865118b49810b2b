"""Ctrl-C in any stage: it ends soon, says so, and what has its final name is whole."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests import workspace as ws

AFTER_S = 0.2


@pytest.mark.parametrize("stage", ws.STAGES)
def test_ctrl_c_ends_a_stage_soon_and_leaves_whole_files(workspace: Path, stage: str, capsys: pytest.CaptureFixture):
    whole = ws.stage_digests(stage)
    threading.Timer(AFTER_S, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        ws.run_program(stage)
        time.sleep(10)  # the signal comes to the test if the stage was faster
    assert time.monotonic() - started < AFTER_S + 5 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert ended.value.code == 128 + signal.SIGINT
    assert f"{stage}: stopped by SIGINT; start again to continue" in capsys.readouterr().err
    assert ws.stage_digests(stage).items() <= whole.items()
