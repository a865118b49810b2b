"""A disk that is full or read-only: one message, nothing corrupt, and the next run with room completes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import workspace as ws

#: A mount that only the test's own processes see; without root, users may do so on many systems.
UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]


@pytest.fixture(autouse=True)
def _can_mount(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("a small file system needs unshare (util-linux)")
    tried = subprocess.run(
        [*UNSHARE, "mount", "-t", "tmpfs", "none", tmp_path], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"this user may not mount a small file system ({tried.stderr.strip()})")


def run_on(folder: str, options: str, stage: str, **environment: str) -> tuple[int, str, list[str]]:
    """Run a stage with a small file system at `folder`; returns its status, what it said, and what it left there."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    script = f'mount -t tmpfs -o {options} none {folder} && "$@"; status=$?; find {folder} -type f; exit $status'
    ended = subprocess.run(
        [*UNSHARE, "sh", "-c", script, "sh", sys.executable, "-m", f"stages.{stage}"],
        env={**os.environ, "PYTHONPATH": str(ws.ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stderr, ended.stdout.split()


def message_of(said: str, stage: str) -> str:
    assert "Traceback" not in said, said
    messages = [line for line in said.splitlines() if line.startswith(f"{stage}: ") and "|" not in line]
    assert len(messages) == 1, said
    return messages[0]


@pytest.mark.parametrize(("options", "reason"), [("size=4k", "the disk is full"), ("ro", "is read-only")])
def test_a_stage_that_cannot_write_says_so_and_runs_when_it_can(workspace: Path, options: str, reason: str):
    whole = ws.stage_digests("import_wsss")

    status, said, left = run_on("data/import_wsss", options, "import_wsss")

    assert status == 1
    assert reason in message_of(said, "import_wsss")
    assert left == []
    assert ws.stage_digests("import_wsss") == whole  # below the mount, the outputs of before
    ws.run("import_wsss")
    assert ws.stage_digests("import_wsss") == whole


def test_a_checkpoint_that_finds_no_room_says_so(workspace: Path):
    whole = ws.stage_digests("train_pam")
    status, said, left = run_on(".bestie", "size=64k", "train_pam", BESTIE_CHECKPOINT_MINUTES="0")
    assert status == 1
    assert "the disk is full; make room" in message_of(said, "train_pam")
    assert left == []
    ws.run("train_pam")
    assert ws.stage_digests("train_pam") == whole
