"""A training as its section of the parameters describes it."""

import torch
from torch import nn

from bestie.params.training import Training
from bestie.runtime import ranks
from bestie.runtime.settings import Settings
from bestie.runtime.threads import cores
from bestie.training.checkpoints import Checkpoints
from bestie.training.curves import curves
from bestie.training.loop import EpochEnd, Loop, Samples, Step, count_steps
from bestie.training.optimizer import create_optimizer, create_schedule

#: More processes than this load images faster than any GPU of today takes them.
MAX_WORKERS = 8


def train(
    module: nn.Module,
    samples: Samples,
    step: Step,
    params: Training,
    settings: Settings,
    *,
    description: str,
    device: torch.device | None = None,
    checkpoints: Checkpoints | None = None,
    epoch_end: EpochEnd | None = None,
) -> list[dict[str, float]]:
    """Train a model as its section of the parameters says, and return the history, one row per epoch.

    Args:
        module: the model; its weights are changed in place.
        samples: the training images.
        step: (batch, clock) -> losses, see `Loop`.
        params: the section of the parameters.
        settings: number of workers, the form of the progress, curves, and whether models are compiled.
        description: what is trained, for progress and messages.
        device: that of a model whose batches are tensors: it is compiled if the settings say so, and its batches are
            copied to a GPU from pinned memory. None for other models.
        checkpoints: where the state is kept, so that an interrupted training continues; None keeps no state.
        epoch_end: see `Loop`.

    Raises InputError and StoppedError like `Loop.run`.
    """
    if settings.compile and device is not None:
        torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled())  # tells the compiler, too
        module.compile()
    optimizer = create_optimizer(module, params.optimizer)
    steps = params.epochs * count_steps(len(samples.records), params.batch_size)
    with curves(settings, description) as draw:
        return Loop(
            module=module,
            optimizer=optimizer,
            schedule=create_schedule(optimizer, params.optimizer, steps=steps),
            samples=samples,
            collate=samples.collate,
            step=step,
            count=len(samples.records),
            epochs=params.epochs,
            batch_size=params.batch_size,
            seed=params.seed,
            description=description,
            checkpoints=checkpoints,
            epoch_end=epoch_end,
            epoch_row=draw,
            weight_average=params.weight_average,
            workers=loader_workers(next(module.parameters()).device) if settings.workers is None else settings.workers,
            pin_memory=device is not None and device.type == "cuda",
            as_json=settings.json_progress,
        ).run()


def loader_workers(device: torch.device) -> int:
    """Return how many processes load images for a training: none on a CPU, which it needs itself.

    For a GPU, the share that this process has of the cores, but one, and at most `MAX_WORKERS`.
    """
    if device.type == "cpu":
        return 0
    return max(1, min(MAX_WORKERS, cores() // ranks.count() - 1))
