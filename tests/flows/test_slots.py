"""GPU slots of a host."""

import os
import socket
import tempfile
from pathlib import Path

import pytest

from bestie.errors import InputError
from flows.slots import gpu_slots, gpus, limit_name, slot_for
from tests.flows.prefect_server import Server


class FullError(Exception):
    """Stands for a run that does not want to wait."""


def refuse(seconds: float) -> None:
    raise FullError


@pytest.fixture(autouse=True)
def _own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_two_stages_on_a_host_with_two_gpus_see_one_each_and_a_third_waits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-5a/b")
    with (
        slot_for("gpu", refuse, on_worker=False) as first,
        slot_for("gpu", refuse, on_worker=False) as second,
    ):
        assert first.environment == {"CUDA_VISIBLE_DEVICES": "2"}
        assert second.environment == {"CUDA_VISIBLE_DEVICES": "GPU-5a/b"}
        with pytest.raises(FullError), slot_for("gpu", refuse, on_worker=False):
            pass
    with slot_for("gpu", refuse, on_worker=False) as again:
        assert again.environment == first.environment


@pytest.mark.parametrize("visible", ["", "0"])
def test_a_host_with_one_gpu_or_none_has_one_slot_and_changes_nothing(monkeypatch: pytest.MonkeyPatch, visible: str):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with slot_for("gpu", refuse, on_worker=False) as slot:
        assert slot.environment == {}
        with pytest.raises(FullError), slot_for("gpu", refuse, on_worker=False):
            pass


@pytest.mark.parametrize(
    ("size", "expected"), [("1", ["0", "1", "2", "3", "4"]), ("2", ["0,1", "2,3"]), ("all", ["0,1,2,3,4"])]
)
def test_a_slot_has_as_many_gpus_as_asked_for(monkeypatch: pytest.MonkeyPatch, size: str, expected: list[str]):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4")
    monkeypatch.setenv("BESTIE_SLOT_GPUS", size)
    assert [",".join(names) for names in gpu_slots()] == expected
    with slot_for("gpu", refuse, on_worker=False) as slot:
        assert slot.environment == {"CUDA_VISIBLE_DEVICES": expected[0]}
        monkeypatch.setenv("BESTIE_SLOT_GPUS", "all")
        with pytest.raises(FullError), slot_for("gpu", refuse, on_worker=False):
            pass  # a larger slot does not take a GPU that a smaller one holds


@pytest.mark.parametrize("size", ["0", "3", "two", ""])
def test_a_slot_of_more_gpus_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch, size: str):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setenv("BESTIE_SLOT_GPUS", size)
    with pytest.raises(InputError, match=r"BESTIE_SLOT_GPUS=.*this host has 2 GPUs; write `all`"):
        gpu_slots()


def test_a_stage_of_the_cpu_pool_needs_no_slot():
    with slot_for("cpu", refuse, on_worker=False) as first, slot_for("cpu", refuse, on_worker=True) as second:
        assert first.environment == second.environment == {}
        assert first.descriptors == second.descriptors == ()


def test_gpus_are_asked_of_the_driver_where_no_variable_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\nprintf '0\\n1\\n'\n", encoding="utf-8")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert gpus() == ["0", "1"]
    driver.write_text("#!/bin/sh\nexit 9\n", encoding="utf-8")
    assert gpus() == []


def test_a_run_that_waits_for_a_slot_of_the_server_can_be_ended(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BESTIE_GPU_LIMIT", "gpu-test")
    with server.client() as client:
        client.upsert_global_concurrency_limit_by_name("gpu-test", 1)
    with slot_for("gpu", refuse, on_worker=True):
        (tmp_path / "other-host").mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "other-host"))  # its own GPU is free
        with pytest.raises(FullError), slot_for("gpu", refuse, on_worker=True):
            pass
    with slot_for("gpu", refuse, on_worker=True), server.client() as client:
        assert client.read_global_concurrency_limit_by_name("gpu-test").active_slots == 1


def test_hosts_have_a_limit_each_or_share_the_one_that_is_named(monkeypatch: pytest.MonkeyPatch):
    assert limit_name() == f"gpu-{socket.gethostname()}"
    monkeypatch.setenv("BESTIE_GPU_LIMIT", "gpu-cluster")
    assert limit_name() == "gpu-cluster"
