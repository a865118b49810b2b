"""A training batch of drawn images in full size, and maps like those of a trained network on it."""

from typing import Any

import numpy as np
import torch

from benchmarks.scenes import batch_of_scenes, draw_scene, labels_of_scenes
from bestie.method.network import Outputs
from bestie.method.own_classes import OwnClasses
from bestie.training.network_training import InstanceStep
from bestie.training.samples import InstanceBatch


def make_batch(images: int, *, classes: int = 20, side_px: int = 416) -> InstanceBatch:
    """Return drawn images with three objects of two classes each."""
    rng = np.random.default_rng(0)
    scenes = []
    for _ in range(images):
        drawn = rng.choice(np.arange(1, classes + 1), 2, replace=False).tolist()
        scenes.append(draw_scene(rng, height=side_px, width=side_px, classes=drawn, objects=3))
    return batch_of_scenes(rng, scenes, labels_of_scenes(scenes, num_classes=classes))


def pinned(batch: InstanceBatch) -> InstanceBatch:
    """Return the batch in pinned memory, as a training loads it for a GPU."""

    def pin(values: Any) -> Any:
        if isinstance(values, tuple):
            return type(values)(*map(pin, values))  # `Components`
        return values.pin_memory() if isinstance(values, torch.Tensor) else values

    return InstanceBatch(*map(pin, batch))


def make_outputs(step: InstanceStep, batch: InstanceBatch) -> Outputs:
    """Return maps like those of a trained network: the maps of the labels with some noise."""
    targets = step.render(batch, OwnClasses(batch.own_classes))
    center = (targets.center + 0.05 * torch.rand_like(targets.center)).clamp(0, 1)
    return Outputs(center, center, targets.offset + torch.randn_like(targets.offset))
