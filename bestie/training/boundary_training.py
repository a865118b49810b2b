"""Training of the head for boundaries between classes, on maps that are void where they are in doubt."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from bestie.method.affinity import affinity_loss
from bestie.method.semantic_network import SemanticNetwork
from bestie.params.train_wsss import TrainWsss
from bestie.runtime.device import autocast
from bestie.runtime.distributed import replicate
from bestie.runtime.settings import Settings
from bestie.training.checkpoints import Checkpoints
from bestie.training.loop import Clock
from bestie.training.semantic_training import SemanticBatch, SemanticImages
from bestie.training.train import train


class BoundaryLearner(nn.Module):
    """The head for boundaries of a network, which learns on features that do not."""

    def __init__(self, network: SemanticNetwork) -> None:
        super().__init__()
        if network.boundary is None:
            raise ValueError("the network has no head for boundaries")
        self.boundary = network.boundary.requires_grad_(True)
        self._pyramid = network.eval().pyramid  # a method, so that the network is no part of this module

    def forward(self, images: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b i j"]:
        """Return the probability of a boundary on the grid of `SemanticNetwork.pyramid`."""
        with torch.no_grad():
            maps = self._pyramid(images)
        return self.boundary(maps)


def train_boundaries(
    network: SemanticNetwork,
    samples: SemanticImages,
    params: TrainWsss,
    settings: Settings,
    device: torch.device,
    *,
    checkpoints: Checkpoints,
) -> list[dict[str, float]]:
    """Train the head for boundaries to the end and return the history, one row per epoch.

    Args:
        network: the network on `device`; the weights of its head are changed in place.
        samples: the training images, with maps that are void where they are in doubt.
        params: the section `train_wsss`.
        settings: workers, progress, and whether the module is compiled.
        device: where to train.
        checkpoints: see `train`.

    Raises:
        InputError: see `Loop.run`.
        StoppedError: see `Loop.run`.
    """
    learner = BoundaryLearner(network)
    replica = replicate(learner)

    def step(batch: SemanticBatch, _clock: Clock) -> dict[str, Tensor]:
        images = batch.images.to(device, non_blocking=True)
        with autocast(device, params.precision):
            boundary = replica(images)
        seeds = batch.semantic.to(device, non_blocking=True)[:, None].float()
        on_grid = F.interpolate(seeds, size=boundary.shape[-2:], mode="nearest-exact")[:, 0].to(torch.uint8)
        return {"total": affinity_loss(boundary, on_grid)}

    return train(
        learner,
        samples,
        step,
        params.model_copy(update={"epochs": params.boundary_epochs}),
        settings,
        description="train_wsss, boundaries",
        device=device,
        checkpoints=checkpoints,
    )
