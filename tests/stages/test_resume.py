"""An interrupted training ends with exactly the weights of an uninterrupted one."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bestie.artifacts.weights import load_weights
from bestie.training.checkpoints import Checkpoints
from bestie.training.loop import Clock, Loop
from tests import workspace as ws


class Interrupted(BaseException):
    """Stands for Ctrl-C and for a lost machine: no handler of errors may catch it."""


def interrupt(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, *, at_call: int) -> None:
    """Let a method raise at its call number `at_call`, and work again from then on."""
    real: Callable[..., Any] = getattr(owner, method)
    calls = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at_call:
            raise Interrupted
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, method, counted)


def remove_outputs(stage: str) -> None:
    """Remove the files that a stage has written, as DVC does before it runs one."""
    for name in ws.stage_digests(stage):
        Path(name).unlink()


def trained_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the optimizer steps that run from now on."""
    steps: list[int] = []
    real = Loop._optimize

    def recorded(loop: Loop, batch: Any, clock: Clock) -> dict[str, float]:
        steps.append(clock.step)
        return real(loop, batch, clock)

    monkeypatch.setattr(Loop, "_optimize", recorded)
    return steps


@pytest.mark.parametrize(("stage", "at_call"), [("train_pam", 20), ("train_bestie", 35), ("train_mrcnn", 2)])
def test_a_resumed_training_writes_the_same_bytes(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, stage: str, at_call: int
):
    uninterrupted = ws.stage_digests(stage)
    remove_outputs(stage)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt(patch, Loop, "_optimize", at_call=at_call)
        ws.run(stage, checkpoint_minutes=0)
    assert ws.stage_digests(stage) == {}
    assert len(list(Path(".bestie", stage).rglob("state.pt"))) == 1

    steps = trained_steps(monkeypatch)
    ws.run(stage)

    assert steps[0] == at_call - 1
    assert ws.stage_digests(stage) == uninterrupted
    assert list(Path(".bestie", stage).iterdir()) == []


def test_an_interruption_between_epochs_loses_no_snapshot(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    from stages.train_bestie import Snapshots

    ws.set_params("train_bestie.epochs=4", "train_bestie.evolution_every=2")
    ws.run("train_bestie")
    uninterrupted = ws.stage_digests("train_bestie")
    remove_outputs("train_bestie")
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt(patch, Snapshots, "_detected", at_call=2)
        ws.run("train_bestie", checkpoint_minutes=0)
    steps = trained_steps(monkeypatch)

    ws.run("train_bestie")

    assert steps == []  # the last checkpoint holds all steps; only the end of the epoch is missing
    assert ws.stage_digests("train_bestie") == uninterrupted


def test_without_a_checkpoint_training_starts_anew(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    uninterrupted = ws.stage_digests("train_pam")
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt(patch, Loop, "_optimize", at_call=20)
        ws.run("train_pam", checkpoint_minutes=60)
    steps = trained_steps(monkeypatch)

    ws.run("train_pam")

    assert steps[0] == 0
    assert ws.stage_digests("train_pam") == uninterrupted


def test_a_checkpoint_of_other_parameters_is_not_used(workspace: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt(patch, Loop, "_optimize", at_call=20)
        ws.run("train_pam", checkpoint_minutes=0)
    ws.set_params("train_pam.alpha=0.6")
    steps = trained_steps(monkeypatch)

    ws.run("train_pam")

    assert steps[0] == 0
    assert list(Path(".bestie", "train_pam").iterdir()) == []


@pytest.mark.parametrize("changed", ["train_pam", "extract_cues", "import_wsss", "make_pseudo_labels"])
def test_a_checkpoint_of_other_inputs_is_not_used(workspace: Path, monkeypatch: pytest.MonkeyPatch, changed: str):
    ws.set_params("dataset.supervision=point", "train_bestie.epochs=1", "train_bestie.evolution_every=0")
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        interrupt(patch, Loop, "_optimize", at_call=2)
        ws.run("train_bestie", checkpoint_minutes=0)
    changes = {
        "train_pam": ["train_pam.seed=1", "train_pam.epochs=1"],
        "extract_cues": ["extract_cues.threshold=0.5"],
        "import_wsss": ["import_wsss.source=wsss"],
        "make_pseudo_labels": ["make_pseudo_labels.min_area_px=100000"],
    }
    if changed == "import_wsss":
        relabel_wsss()
    common = ("train_bestie.epochs=1", "train_bestie.evolution_every=0")
    ws.set_params("dataset.supervision=image", *common, *changes[changed])
    ws.run(changed)
    ws.set_params("dataset.supervision=point", *common)
    steps = trained_steps(monkeypatch)

    ws.run("train_bestie")

    assert steps[0] == 0


def relabel_wsss() -> None:
    """A folder `wsss` with maps in which nothing is labeled."""
    from PIL import Image

    Path("wsss").mkdir()
    for path in Path("data/raw/generated/WSSS_maps").iterdir():
        with Image.open(path) as image:
            Image.new("L", image.size).save(Path("wsss", path.name))


def test_a_checkpoint_is_due_after_its_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    checkpoints = Checkpoints(tmp_path, "a", minutes=2)
    assert not checkpoints.due()
    now += 121
    assert checkpoints.due()
    checkpoints.save({"value": 1})
    assert not checkpoints.due()


def test_weights_of_the_finished_run_are_those_of_its_last_step(finished_run: Path):
    """Batch normalization has counted every step: nothing trained on after the checkpoint was taken."""
    tensors, _ = load_weights(Path("data/train_pam/classifier.zarr"))
    counted = {int(value) for name, value in tensors.items() if name.endswith("num_batches_tracked")}
    assert counted == {30}
