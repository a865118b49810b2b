"""Folders that are handed from clone to clone through the DVC remote."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from bestie.audit.hashing import md5_path
from bestie.errors import InputError
from flows import own_clone
from flows.faults import InfrastructureError
from flows.handover import pull, push
from flows.own_clone import hand_over, send
from flows.repro import Surroundings
from flows.stopping import Stop
from tests import workspace as ws
from tests.clones import Clone

PART = Path(".bestie", "parts", "evaluate", "1-of-2")


@pytest.fixture
def other(clone: Clone, tmp_path: Path) -> Clone:
    """A second clone with the same remote."""
    clone.dvc("remote", "add", "--local", "--default", "storage", str(tmp_path / "remote"))
    copied = Clone(tmp_path / "home" / "other")
    shutil.copytree(clone.folder, copied.folder, symlinks=True)
    shutil.rmtree(copied.folder / ".dvc" / "cache")
    return copied


def fill(folder: Path) -> Path:
    (folder / "maps.zarr" / "c").mkdir(parents=True)
    (folder / "maps.zarr" / "c" / "0").write_bytes(bytes(range(256)))
    (folder / "part.json").write_text("{}\n", encoding="utf-8")
    return folder


def test_a_folder_comes_out_of_another_clone_as_it_was_put_in(clone: Clone, other: Clone):
    folder = fill(clone.folder / PART)
    name = push(clone.folder, folder)
    assert name == md5_path(folder)

    pull(other.folder, {other.folder / PART: name})

    assert [*ws.digests([other.folder / PART]).values()] == [*ws.digests([folder]).values()]
    shutil.rmtree(other.folder / PART)
    assert other.run("git", "status", "--porcelain") == ""


def test_what_the_remote_does_not_have_is_named(clone: Clone, other: Clone, tmp_path: Path):
    name = push(clone.folder, fill(clone.folder / PART))
    shard = next(each for each in (tmp_path / "remote").rglob("*") if each.is_file() and each.stat().st_size == 256)
    shard.unlink()
    with pytest.raises(InputError, match=f"the DVC remote does not have all of {name}"):
        pull(other.folder, {other.folder / PART: name})


@pytest.fixture
def surroundings(clone: Clone, other: Clone, monkeypatch: pytest.MonkeyPatch) -> Iterator[Surroundings]:
    """Those of a run in `clone`, without a run."""
    lines: list[str] = []
    with disable_run_logger():
        yield Surroundings(clone.folder, Stop(), lines.append, clone.environment)


def test_what_was_computed_is_sent_again_while_the_remote_is_away(
    clone: Clone, surroundings: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(own_clone, "SEND_DELAYS_S", (0.1, 0.2))
    folder, remote = fill(clone.folder / PART), tmp_path / "remote"
    remote.write_text("in the way", encoding="utf-8")
    with pytest.raises(InfrastructureError, match="parts of a stage cannot be handed over"):
        send(hand_over, ["push", str(folder)], surroundings)
    monkeypatch.setattr(own_clone, "SEND_DELAYS_S", (0.1, 5.0, 60.0))
    with ThreadPoolExecutor(1) as beside:
        sending = beside.submit(copy_context().run, send, hand_over, ["push", str(folder)], surroundings)
        with pytest.raises(TimeoutError):
            sending.result(timeout=3)
        remote.unlink()
        sending.result(timeout=120)
    assert sum(each.is_file() for each in remote.rglob("*")) == 3  # two files, and the list of them


def test_what_is_no_folder_is_not_handed_over(clone: Clone):
    with pytest.raises(InputError, match="is no folder"):
        push(clone.folder, clone.folder / PART)
