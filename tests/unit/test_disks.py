"""Disk faults are distinguished from all other errors, also if the error of a library hides them."""

import errno
import logging
from pathlib import Path

import pytest

from bestie.runtime.disks import storage_fault, tell_disk_faults_once
from bestie.runtime.stage import run_stage
from bestie.training.checkpoints import Checkpoints
from stages.import_wsss import main
from tests import workspace as ws


def raised(*errors: Exception) -> Exception:
    """The last of some errors, each raised while the one before was handled."""
    try:
        if len(errors) > 1:
            try:
                raise raised(*errors[:-1])
            except Exception:
                raise errors[-1]  # noqa: B904  the context is the point
        raise errors[0]
    except Exception as error:
        return error


def test_a_full_disk_is_named_with_its_file():
    assert storage_fault(OSError(errno.ENOSPC, "No space left", "a.zarr")) == (
        "a.zarr: the disk is full; make room, then start again: what was finished is kept"
    )


def test_it_is_found_behind_the_errors_of_libraries():
    hidden = raised(OSError(errno.EDQUOT, "Quota"), RuntimeError("writer failed"), ValueError("no"))
    assert "quota" in (storage_fault(hidden) or "")


def test_other_errors_are_none_of_the_disks():
    assert storage_fault(OSError(errno.ENOENT, "absent")) is None
    assert storage_fault(raised(KeyError("a"), ValueError("no"))) is None


@pytest.mark.parametrize(
    ("error", "logged"),
    [(OSError(errno.ENOSPC, "No space left"), False), (OSError(errno.ENOENT, "absent"), True), (KeyError("a"), True)],
)
def test_a_failed_write_that_nobody_asks_about_is_not_logged(error: Exception, logged: bool):
    raised_by_nobody = (type(error), error, None)
    record = logging.LogRecord("asyncio", logging.ERROR, __file__, 1, "never retrieved", None, raised_by_nobody)
    tell_disk_faults_once()
    assert bool(logging.getLogger("asyncio").filter(record)) == logged


def test_a_stage_that_cannot_write_ends_with_one_message(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    import os

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    model, _ = ws.stage_main("import_wsss")
    before = ws.stage_digests("import_wsss")
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(os, "fsync", full)
        run_stage("import_wsss", model, main)
    assert stopped.value.code == 1
    assert "import_wsss: the disk is full; make room" in capsys.readouterr().err
    assert ws.stage_digests("import_wsss") == before


def test_a_damaged_checkpoint_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture):
    checkpoints = Checkpoints(tmp_path, "a", minutes=0)
    checkpoints.save({"value": [1.0]})
    path = checkpoints.folder / "state.pt"
    path.write_bytes(path.read_bytes()[:-40])
    assert checkpoints.load() is None
    assert "state.pt is damaged and not used: the training starts anew" in capsys.readouterr().err
