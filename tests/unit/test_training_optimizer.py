"""Optimizers and their schedules."""

import pytest
import torch
from torch import nn

from bestie.params.training import Optimizer
from bestie.training.optimizer import create_optimizer, create_schedule


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(2, 2)
        self.head = nn.Linear(2, 3)


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_the_backbone_has_a_rate_of_its_own(name: str, kind: type):
    params = Optimizer(name=name, learning_rate=0.1, backbone_factor=0.5, weight_decay=0.01)
    optimizer = create_optimizer(Model(), params)
    assert type(optimizer) is kind
    assert [(g["lr"], g["weight_decay"], len(g["params"])) for g in optimizer.param_groups] == [
        (0.1, 0.01, 2),
        (0.05, 0.01, 2),
    ]


def test_frozen_weights_are_left_out():
    model = Model()
    model.backbone.requires_grad_(False)
    (group,) = create_optimizer(model, Optimizer()).param_groups
    assert len(group["params"]) == 2


def factors(n_steps: int, **params: object) -> list[float]:
    """The factor on the rate at each step of a training."""
    optimizer = create_optimizer(Model(), Optimizer(learning_rate=1, **params))
    schedule = create_schedule(optimizer, Optimizer(learning_rate=1, **params), steps=n_steps)
    found = []
    for _ in range(n_steps):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


def test_polynomial_falls_to_zero_as_the_paper_has_it():
    assert factors(4, schedule="polynomial") == pytest.approx([(1 - i / 4) ** 0.9 for i in range(4)])


def test_cosine_falls_by_half_a_wave():
    assert factors(4, schedule="cosine") == pytest.approx([1, 0.8535534, 0.5, 0.1464466])


def test_steps_divide_by_ten():
    assert factors(10, schedule="steps", steps=(0.5, 0.8)) == pytest.approx([1] * 5 + [0.1] * 3 + [0.01] * 2)


def test_constant_stays():
    assert factors(3, schedule="constant") == [1, 1, 1]


def test_warmup_rises_to_the_schedule():
    found = factors(10, schedule="constant", warmup_fraction=0.3)
    assert found == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1])
