"""Training curves for TensorBoard: what is read back is the history."""

import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bestie.errors import InputError
from bestie.runtime.settings import Settings
from bestie.training.curves import curves
from tests import workspace as ws


def test_the_curves_of_a_training_are_its_history(workspace: Path):
    ws.set_params("train_bestie.epochs=3", "train_bestie.evolution_every=2")
    ws.run("train_bestie", curves="tensorboard")
    history = pq.read_table("data/train_bestie/history.parquet").to_pylist()
    (folder,) = Path(".bestie/curves/train_bestie").iterdir()
    found = EventAccumulator(str(folder)).Reload()
    names = [name for name in history[0] if name != "epoch"]
    assert sorted(found.Tags()["scalars"]) == sorted(f"train_bestie/{name}" for name in names)
    for name in names:
        expected = {row["epoch"]: row[name] for row in history if row[name] is not None}
        values = {event.step: event.value for event in found.Scalars(f"train_bestie/{name}")}
        assert values == pytest.approx(expected, rel=1e-5)


def test_without_the_setting_there_are_none(tmp_path: Path):
    with curves(Settings(state=tmp_path), "train_pam") as draw:
        assert draw is None
    assert list(tmp_path.iterdir()) == []


def test_without_tensorboard_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with (
        pytest.raises(InputError, match="pip install tensorboard"),
        curves(Settings(state=tmp_path, curves="tensorboard"), "train_pam"),
    ):
        pass
