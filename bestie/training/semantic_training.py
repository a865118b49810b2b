"""Training of the network for own semantic maps, on maps of the training images that an earlier round made."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from bestie.artifacts.maps import MapReader
from bestie.method.decoders import resize_like
from bestie.method.losses import class_weights, semantic_loss
from bestie.method.semantic_network import SemanticNetwork
from bestie.params.train_wsss import TrainWsss
from bestie.params.training import Augmentation
from bestie.records import VOID, ImageRecord
from bestie.runtime.device import autocast
from bestie.runtime.distributed import replicate
from bestie.runtime.settings import Settings
from bestie.training.checkpoints import Checkpoints
from bestie.training.loop import Clock
from bestie.training.samples import augmented
from bestie.training.train import train


class SemanticBatch(NamedTuple):
    """Images (RGB, 0..255) and semantic maps: 0 for background, a category_id, 255 for void."""

    images: UInt8[Tensor, "b 3 h w"]
    semantic: UInt8[Tensor, "b h w"]


@dataclass(frozen=True)
class SemanticImages:
    """Samples of images with their semantic maps, augmented alike.

    Args:
        records: the images.
        root: the folder that the images' paths are relative to.
        augmentation: crop, scale, flip and color jitter.
        semantic: reader of `semantic` maps.
    """

    records: Sequence[ImageRecord]
    root: Path
    augmentation: Augmentation
    semantic: MapReader

    def __call__(self, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Sample `index`, augmented by choices drawn from `rng`."""
        record = self.records[index]
        semantic = torch.from_numpy(self.semantic.read(record.row, "semantic", record.height, record.width))
        image, cut = augmented(self.root, record, {"semantic": (semantic, VOID)}, self.augmentation, rng)
        return image, cut["semantic"]

    @staticmethod
    def collate(samples: list[tuple[Tensor, Tensor]]) -> SemanticBatch:
        """Stack samples."""
        images, maps = zip(*samples, strict=True)
        return SemanticBatch(torch.stack(images), torch.stack(maps))


def train_semantic_network(
    network: SemanticNetwork,
    samples: SemanticImages,
    params: TrainWsss,
    settings: Settings,
    device: torch.device,
    *,
    class_pixels: Int[np.ndarray, " k"],
    checkpoints: Checkpoints,
    description: str,
) -> list[dict[str, float]]:
    """Train to the end with the cross-entropy of Eq. 5 and return the history, one row per epoch.

    Args:
        network: the network on `device`; its weights are changed in place.
        samples: the training images.
        params: the section `train_wsss`.
        settings: workers, progress, and whether the network is compiled.
        device: where to train.
        class_pixels: pixels of each class on the maps, background first.
        checkpoints: see `train`.
        description: see `train`.

    Raises:
        InputError: see `Loop.run`.
        StoppedError: see `Loop.run`.
    """
    replica = replicate(network)
    weights = class_weights(torch.from_numpy(class_pixels), balance=params.class_balance).to(device)

    def step(batch: SemanticBatch, _clock: Clock) -> dict[str, Tensor]:
        images = batch.images.to(device, non_blocking=True)
        with autocast(device, params.precision):
            logits = replica(images)
        target = batch.semantic.to(device, non_blocking=True)
        return {"total": semantic_loss(resize_like(logits.float(), images), target, weights=weights)}

    return train(
        network,
        samples,
        step,
        params,
        settings,
        description=description,
        device=device,
        checkpoints=checkpoints,
    )
