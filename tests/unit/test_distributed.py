"""Several processes for one stage: how many, which takes what, and that a training gives the same result."""

import json
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from bestie.artifacts import maps
from bestie.errors import InputError
from bestie.params.section import Section
from bestie.records import ImageRecord
from bestie.runtime.device import pick_device
from bestie.runtime.distributed import _count_steps, _wanted
from bestie.runtime.parts import own_rows
from bestie.runtime.ranks import HelperEnd, end_helpers
from bestie.runtime.settings import Settings
from tests import lines_in_processes
from tests import workspace as ws
from tests.unit.test_training_loop import make_loop


class Batches(Section):
    batch_size: int


def be_process(monkeypatch: pytest.MonkeyPatch, rank: int, count: int) -> None:
    """Let this process be one of several, as torch's launcher says it to a process."""
    for name, value in {"TORCHELASTIC_RUN_ID": "test", "RANK": rank, "WORLD_SIZE": count}.items():
        monkeypatch.setenv(name, str(value))


def record(row: int) -> ImageRecord:
    return ImageRecord(row, str(row), "train", f"{row}.png", 8, 8, "", (1,))


def test_two_processes_train_as_one_does(tmp_path: Path):
    program, files = lines_in_processes.__file__, [tmp_path / name for name in ("one.json", "two.json")]
    lines_in_processes.main(lines_in_processes.DATASET, lines_in_processes.Lines(path=str(files[0])), Settings())
    environment = os.environ | {"PYTHONPATH": str(ws.ROOT)}
    ended = subprocess.run(
        [sys.executable, program, "2", str(files[1])], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    one, two = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    for alone, shared in zip(one["history"], two["history"], strict=True):
        assert shared == pytest.approx(alone, rel=1e-4)
    for name, values in one["weights"].items():
        np.testing.assert_allclose(two["weights"][name], values, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("settings", "gpus", "batch_size", "expected"),
    [
        (Settings(), 0, 8, 1),
        (Settings(), 4, 8, 4),
        (Settings(), 4, 6, 3),
        (Settings(), 4, 5, 1),
        (Settings(device="cpu"), 4, 8, 1),
        (Settings(device="cuda:1", processes=2), 4, 8, 1),
        (Settings(processes=3), 4, 8, 2),
        (Settings(processes=8), 4, 8, 4),
        (Settings(device="cpu", processes=2), 0, 8, 2),
    ],
)
def test_there_is_a_process_a_gpu_or_as_many_as_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, gpus: int, batch_size: int, expected: int
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    assert _wanted(Batches(batch_size=batch_size), settings, gpus=True) == expected
    assert _wanted(Batches(batch_size=batch_size), settings, gpus=False) == max(1, settings.processes)


@pytest.mark.parametrize(
    ("settings", "gpus", "cpus", "expected"),
    [
        (Settings(), 1, 16, 4),
        (Settings(), 2, 16, 8),
        (Settings(), 8, 64, 9),
        (Settings(), 2, 4, 4),
        (Settings(), 4, 2, 4),
        (Settings(processes=2), 1, 16, 2),
        (Settings(processes=9), 2, 16, 8),
        (Settings(device="cuda:0"), 2, 16, 1),
        (Settings(device="cpu"), 2, 16, 1),
    ],
)
def test_several_processes_share_a_gpu_that_computes_image_after_image(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Settings, gpus: int, cpus: int, expected: int
):
    monkeypatch.chdir(tmp_path)
    assert _count_steps() == 1
    with maps.MapWriter(
        Path("data/prepare/ground_truth.zarr"), {"semantic": ("uint8",)}, 8 * maps.ROWS_AT_ONCE + 1, (8, 8)
    ):
        pass
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("bestie.runtime.distributed.cores", lambda: cpus)
    assert _wanted(Section(), settings, gpus=True, images=True) == expected


def test_processes_that_share_gpus_take_them_in_turn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    be_process(monkeypatch, 3, 8)
    found = []
    for local_rank in range(8):
        monkeypatch.setenv("LOCAL_RANK", str(local_rank))
        found.append(pick_device("auto").index)
    assert found == [0, 1, 0, 1, 0, 1, 0, 1]


def test_a_batch_that_not_all_gpus_can_share_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert _wanted(Batches(batch_size=5), Settings(), gpus=True) == 5
    assert "uses 5 of 8 GPUs: a batch of 5 images" in capsys.readouterr().err
    assert _wanted(Batches(batch_size=8), Settings(), gpus=True) == 8
    assert capsys.readouterr().err == ""


def test_the_shares_of_a_batch_are_the_batch(monkeypatch: pytest.MonkeyPatch):
    loop, _ = make_loop(count=12, batch_size=6)
    whole = [sorted(batch) for batch in loop._batches(0).batch_sampler]
    shares = []
    for rank in range(3):
        be_process(monkeypatch, rank, 3)
        shares.append(list(loop._batches(0).batch_sampler))
    assert [sorted(chain(*parts)) for parts in zip(*shares, strict=True)] == whole
    assert {len(part) for parts in shares for part in parts} == {2}


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch):
    be_process(monkeypatch, 0, 2)
    loop, _ = make_loop()
    with pytest.raises(InputError, match="2 processes cannot share a batch of 3 images; set BESTIE_PROCESSES"):
        loop.run()


def test_processes_write_rows_in_sequence_and_together_all_of_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(maps, "ROWS_AT_ONCE", 4)
    rows = np.arange(2, 19)
    shares = []
    for rank in range(3):
        be_process(monkeypatch, rank, 3)
        shares.append(own_rows(rows, Settings()))
    written = [[row for row in rows if row in share] for share in shares]
    assert [min(each) for each in written] == [2, 4, 12]
    assert [row for each in written for row in each] == rows.tolist()


def test_helpers_end_where_the_first_process_goes_on(monkeypatch: pytest.MonkeyPatch):
    end_helpers()
    be_process(monkeypatch, 0, 2)
    end_helpers()
    be_process(monkeypatch, 1, 2)
    with pytest.raises(HelperEnd):
        end_helpers()
