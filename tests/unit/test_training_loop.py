"""The training loop: which samples when, what the history holds, and how a run continues after an interruption."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from bestie.errors import InputError
from bestie.training.checkpoints import Checkpoints
from bestie.training.loop import Clock, Loop, epoch_batches

COUNT, BATCH, EPOCHS = 10, 3, 4


class Interrupted(BaseException):
    """An interruption."""


def make_loop(step: Callable[..., dict[str, Tensor]] | None = None, **options: Any) -> tuple[Loop, list]:
    """A loop that fits a line to numbers, with dropout; the list fills with the batches that it saw."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(1, 4), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    seen: list = []

    def squares(batch: Tensor, clock: Clock) -> dict[str, Tensor]:
        seen.append((clock.epoch, clock.step, batch.flatten().tolist()))
        loss = (module(batch) - 2 * batch).square().mean()
        return {"total": loss, "twice": 2 * loss}

    values: dict[str, Any] = {
        "module": module,
        "optimizer": optimizer,
        "schedule": LambdaLR(optimizer, lambda step: 0.9**step),
        "samples": lambda index, rng: torch.tensor([index + 0.1 * rng.random()], dtype=torch.float32),
        "collate": torch.stack,
        "step": step or squares,
        "count": COUNT,
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "seed": 5,
        "description": "lines",
    }
    return Loop(**{**values, **options}), seen


def test_an_epoch_is_a_permutation_in_full_batches():
    batches = epoch_batches(10, batch_size=3, seed=1, epoch=0)
    assert [len(batch) for batch in batches] == [3, 3, 3]
    assert len({index for batch in batches for index in batch}) == 9
    assert batches == epoch_batches(10, batch_size=3, seed=1, epoch=0)
    assert batches != epoch_batches(10, batch_size=3, seed=1, epoch=1)
    assert batches != epoch_batches(10, batch_size=3, seed=2, epoch=0)


def test_fewer_samples_than_a_batch_make_one_batch():
    assert sorted(epoch_batches(2, batch_size=8, seed=0, epoch=0)[0]) == [0, 1]


def test_over_epochs_every_sample_is_used():
    used = {i for epoch in range(30) for batch in epoch_batches(10, batch_size=8, seed=0, epoch=epoch) for i in batch}
    assert used == set(range(10))


def test_history_has_a_row_an_epoch_with_means_of_all_losses():
    loop, seen = make_loop()
    history = loop.run()
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert all(row["twice"] == pytest.approx(2 * row["total"], rel=1e-5) for row in history)
    assert [step for _, step, _ in seen] == list(range(EPOCHS * 3))
    assert [epoch for epoch, _, _ in seen] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3


def test_the_end_of_an_epoch_adds_to_the_history_in_evaluation_mode():
    modes = []

    def epoch_end(epoch: int) -> dict[str, float]:
        modes.append(loop.module.training)
        return {"extra": float(epoch)}

    loop, _ = make_loop(epoch_end=epoch_end)
    assert [row["extra"] for row in loop.run()] == [1, 2, 3, 4]
    assert modes == [False] * EPOCHS


def test_the_schedule_moves_with_every_step():
    loop, _ = make_loop()
    loop.run()
    assert loop.schedule.get_last_lr()[0] == pytest.approx(0.1 * 0.9 ** (EPOCHS * 3))


def test_processes_that_load_images_live_as_long_as_the_training():
    pids: list[int] = []

    def step(batch: Tensor, clock: Clock) -> dict[str, Tensor]:
        pids.extend(batch.flatten().int().tolist())
        return {"total": loop.module(torch.ones(3, 1)).sum()}

    def own_process(index: int, rng: np.random.Generator) -> Tensor:
        return torch.tensor([os.getpid()], dtype=torch.float64)

    loop, _ = make_loop(step, samples=own_process, workers=2)
    loop.run()
    assert len(pids) == EPOCHS * (COUNT // BATCH) * BATCH
    assert len(set(pids)) == 2


def test_worker_processes_change_nothing():
    alone, seen_alone = make_loop(epochs=2)
    expected = alone.run()
    helped, seen_helped = make_loop(epochs=2, workers=1)
    assert helped.run() == expected
    assert seen_alone == seen_helped


def test_a_mean_of_the_weights_is_what_epoch_ends_see_and_what_remains():
    decay, trained, seen = 0.8, [], []

    def weights() -> dict[str, Tensor]:
        return {name: value.double() for name, value in loop.module.state_dict().items() if value.is_floating_point()}

    def step(batch: Tensor, _clock: Clock) -> dict[str, Tensor]:
        trained.append(weights())  # those after the step before
        return {"total": (loop.module(batch) - 2 * batch).square().mean()}

    def epoch_end(_epoch: int) -> dict[str, float]:
        seen.append(weights())
        return {}

    loop, _ = make_loop(step, epoch_end=epoch_end, weight_average=decay)
    loop.run()

    plain, _ = make_loop()
    plain.run()
    expected, means = {name: torch.tensor(0.0).double() for name in trained[0]}, []
    last = {name: value.double() for name, value in plain.module.state_dict().items()}
    for steps, after in enumerate([*trained[1:], last]):
        kept = min(decay, steps / (steps + 1))  # at first, the mean of all steps
        expected = {name: kept * expected[name] + (1 - kept) * after[name] for name in trained[0]}
        means.append(expected)
    for found, mean in zip([*seen, weights()], [*means[2::3], means[-1]], strict=True):
        for name, value in mean.items():
            torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(weights()["0.weight"], plain.module.state_dict()["0.weight"].double(), atol=1e-3)


@pytest.mark.parametrize(("breaks_at", "average"), [(1, 0), (2, 0.9), (3, 0), (5, 0.9), (11, 0)])
def test_a_resumed_run_equals_one_without_a_break(tmp_path: Path, breaks_at: int, average: float):
    whole, seen = make_loop(weight_average=average)
    expected = whole.run()
    checkpoints = Checkpoints(tmp_path, "a", minutes=0)
    broken, _ = make_loop(checkpoints=checkpoints, weight_average=average)
    real = broken._optimize

    def fail_once(batch: Any, clock: Clock) -> dict[str, float]:
        if clock.step == breaks_at:
            raise Interrupted
        return real(batch, clock)

    broken._optimize = fail_once  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        broken.run()

    torch.manual_seed(99)
    resumed, seen_later = make_loop(checkpoints=Checkpoints(tmp_path, "a", minutes=60), weight_average=average)
    assert resumed.run() == expected
    assert seen_later == seen[breaks_at:]
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, resumed.module.state_dict()[name]), name


def test_a_loss_that_is_not_finite_stops_before_it_reaches_the_weights():
    def step(batch: Tensor, clock: Clock) -> dict[str, Tensor]:
        loss = loop.module(batch).mean()
        return {"total": loss * (torch.nan if clock.step == 4 else 1), "part": loss}

    loop, _ = make_loop(step)
    with pytest.raises(
        InputError, match=r"lines: the loss is not finite at step 5 \(total nan, part .*lower the learning"
    ):
        loop.run()
    assert all(torch.isfinite(value).all() for value in loop.module.parameters())


def test_no_samples_are_refused():
    loop, _ = make_loop(count=0)
    with pytest.raises(InputError, match="there are no training images; check the image list"):
        loop.run()


def test_gradients_are_clipped():
    norms = []

    def step(batch: Tensor, clock: Clock) -> dict[str, Tensor]:
        norms.append(sum(float(p.grad.square().sum()) for p in loop.module.parameters() if p.grad is not None) ** 0.5)
        return {"total": 1e6 * loop.module(batch).square().mean()}

    loop, _ = make_loop(step, clip_norm=1.0)
    loop.run()
    assert max(norms[1:]) == pytest.approx(1.0, abs=1e-3) or max(norms[1:]) < 1


def test_the_clock_runs_from_zero_to_one():
    assert Clock(step=0, steps=8).fraction == 0
    assert Clock(step=4, steps=8).fraction == 0.5


def test_samples_draw_from_their_own_generator():
    drawn: dict[int, list[float]] = {}
    loop, _ = make_loop(
        samples=lambda index, rng: torch.tensor([drawn.setdefault(index, []).append(v := rng.random()) or v]).float()
    )
    loop.run()
    for values in drawn.values():
        assert len(set(values)) == len(values)  # another choice in every epoch
    assert np.unique([v for values in drawn.values() for v in values]).size == sum(map(len, drawn.values()))
