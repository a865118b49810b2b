"""Checkpoints: of one training only, and nothing in them can run code."""

import os
import pickle
from pathlib import Path

import pytest
import torch
import yaml

from bestie.params.train_bestie import Refinement
from bestie.runtime.fingerprint import fingerprint
from bestie.training.checkpoints import Checkpoints


@pytest.fixture
def inputs(tmp_path: Path) -> list[Path]:
    (tmp_path / "maps.zarr").mkdir()
    (tmp_path / "maps.zarr" / "zarr.json").write_text("{}")
    (tmp_path / "table.parquet").write_bytes(b"rows")
    return [tmp_path / "maps.zarr", tmp_path / "table.parquet"]


def test_a_fingerprint_follows_from_values_and_bytes(inputs: list[Path]):
    first = fingerprint("train_pam", inputs, a=1, b=Path("x"))
    assert fingerprint("train_pam", inputs, b=Path("x"), a=1) == first
    assert fingerprint("train_pam", inputs, a=2, b=Path("x")) != first
    assert fingerprint("train_pam", inputs[:1], a=1, b=Path("x")) != first
    assert fingerprint("train_pam", inputs, a=Refinement()) != fingerprint(
        "train_pam", inputs, a=Refinement(enabled=False)
    )
    os.utime(inputs[1], (0, 0))
    assert fingerprint("train_pam", inputs, a=1, b=Path("x")) == first
    (inputs[0] / "zarr.json").write_text("{ }")
    assert fingerprint("train_pam", inputs, a=1, b=Path("x")) != first


def test_compiled_python_does_not_count(inputs: list[Path]):
    first = fingerprint("train_pam", inputs)
    (inputs[0] / "module.pyc").write_bytes(b"compiled")
    (inputs[0] / "module.cpython-311.pyc.139650231").write_bytes(b"half written")
    assert fingerprint("train_pam", inputs) == first


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone in which `train_pam` declares one folder and one file, and `evaluate` another file."""
    folder = tmp_path / "clone"
    for name in ("bestie/artifacts/maps.py", "bestie/method/pam.py", "bestie/report/page.py"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("x = 1\n")
    deps = {
        "train_pam": {"deps": ["data/a.parquet", "bestie/artifacts", "bestie/method/pam.py"]},
        "evaluate": {"deps": ["bestie/report/page.py"]},
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": deps}))
    monkeypatch.setattr("bestie.runtime.fingerprint.PROJECT", folder)
    return folder


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("bestie/artifacts/maps.py", True),
        ("bestie/artifacts/new.py", True),
        ("bestie/method/pam.py", True),
        ("bestie/report/page.py", False),
    ],
)
def test_the_code_that_the_stage_declares_counts_and_no_other(
    clone: Path, inputs: list[Path], name: str, *, counts: bool
):
    first = fingerprint("train_pam", inputs)
    (clone / name).write_text("x = 2\n")
    assert (fingerprint("train_pam", inputs) != first) == counts


def test_a_fingerprint_is_the_same_in_every_clone(clone: Path, inputs: list[Path], monkeypatch: pytest.MonkeyPatch):
    first = fingerprint("train_pam", inputs)
    monkeypatch.setattr("bestie.runtime.fingerprint.PROJECT", clone.rename(clone.with_name("other")))
    assert fingerprint("train_pam", inputs) == first


def test_what_is_saved_is_loaded(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path / "stage", "a", minutes=0)
    assert checkpoints.load() is None
    state = {"module": {"weight": torch.arange(3.0)}, "clock": [1, 2], "history": [{"epoch": 1, "total": 0.5}]}
    checkpoints.save(state)
    loaded = checkpoints.load()
    assert loaded is not None
    assert torch.equal(loaded["module"]["weight"], torch.arange(3.0))
    assert (loaded["clock"], loaded["history"]) == (state["clock"], state["history"])


def test_those_of_another_training_are_removed(tmp_path: Path):
    Checkpoints(tmp_path, "a", minutes=0).save({"value": 1})
    other = Checkpoints(tmp_path, "b", minutes=0)
    assert other.load() is None
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_nothing_remains_when_the_training_has_ended(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path, "a", minutes=0)
    checkpoints.save({"value": 1})
    checkpoints.remove()
    assert list(tmp_path.iterdir()) == []


class Evil:
    def __reduce__(self) -> tuple:
        return os.system, ("true",)


def test_a_checkpoint_cannot_run_code(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path, "a", minutes=0)
    torch.save({"value": Evil()}, checkpoints.folder / "state.pt")
    with pytest.raises(pickle.UnpicklingError):
        checkpoints.load()
