"""Optimizers and learning rate schedules, built from parameters."""

import math
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from bestie.params.training import Optimizer


def create_optimizer(module: nn.Module, params: Optimizer) -> torch.optim.Optimizer:
    """Return the optimizer with two groups of weights: the backbone, with its own factor on the rate, and the rest."""
    backbone = [p for n, p in module.named_parameters() if n.startswith("backbone.") and p.requires_grad]
    rest = [p for n, p in module.named_parameters() if not n.startswith("backbone.") and p.requires_grad]
    rate = params.learning_rate
    groups: list[dict[str, Any]] = [{"params": rest, "lr": rate}]
    if backbone:
        groups.append({"params": backbone, "lr": rate * params.backbone_factor})
    if params.name == "sgd":
        return torch.optim.SGD(groups, momentum=params.momentum, weight_decay=params.weight_decay)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    # One pass over all weights: in a small network, the step would otherwise be a tenth of the work.
    return kinds[params.name](groups, weight_decay=params.weight_decay, fused=True)


def create_schedule(optimizer: torch.optim.Optimizer, params: Optimizer, *, steps: int) -> LambdaLR:
    """Return the schedule of a training of `steps` optimizer steps, as a factor (0 to 1) on the learning rate."""
    warmup = round(params.warmup_fraction * steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        done = min(step / max(steps, 1), 1.0)
        if params.schedule == "polynomial":
            return (1 - done) ** 0.9
        if params.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * done))
        if params.schedule == "steps":
            return 0.1 ** sum(done >= at for at in params.steps)
        return 1.0

    return LambdaLR(optimizer, factor)
