"""What tells the features of a class from those around it: Fisher's linear discriminant, learned from activations.

A classifier's activation marks the few parts of an object that tell its class from others. The mean feature of such
parts over many images, less the mean of their surroundings, is a direction along which the rest of the object lies too.
The maps that it gives mark more of each object than the activation did, so the means are taken anew from them, a few
times. Comparing features with objects and with surroundings is the idea of LPCAM (Chen and Sun, CVPR 2023), which
clusters where means are taken here; the shrinkage of the covariance is that of regularized discriminant analysis
(Friedman, 1989).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

#: Cells of an image, at most, that count as objects of a class and as its surroundings, so that large objects do not
#: outvote small ones.
OBJECT_CELLS, CONTEXT_CELLS = 60, 30
#: Value of a map from which a cell is taken for an object in the next pass, and below which for surroundings.
OBJECT_FROM, CONTEXT_BELOW = 0.5, 0.3


@dataclass(frozen=True)
class Cells:
    """Some cells of an image, in random order.

    `features` have length 1. `values` are the activations, 0 to 1, of each class that the image is labeled with, in
    the order of `categories`.
    """

    categories: tuple[int, ...]
    features: Float[Tensor, "n d"]
    values: Float[Tensor, "k n"]


class Discriminants(nn.Module):
    """One direction in feature space for each class.

    Args:
        num_classes: C, without background.
        channels: D, length of a feature.
    """

    direction: Tensor

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("direction", torch.zeros(num_classes, channels))

    def learn(
        self, images: Sequence[Cells], *, object_from: float, context_below: float, shrinkage: float, passes: int
    ) -> None:
        """Learn the directions from activations, then again from the maps that they give.

        The map of a class that is active nowhere, or without surroundings, stays 0.

        Args:
            images: cells of the training images.
            object_from: activation from which a cell counts as an object at first.
            context_below: activation of all classes below which a cell counts as surroundings at first.
            shrinkage: added to the variances, in units of their mean. Small values trust the directions in which
                the samples differ least; large ones give the plain difference of means.
            passes: how often the directions are learned again.
        """
        self._fit(images, [each.values for each in images], object_from, context_below, shrinkage)
        for _ in range(passes):
            maps = [scaled_to_one(self._projected(each.features.T, each.categories)) for each in images]
            self._fit(images, maps, OBJECT_FROM, CONTEXT_BELOW, shrinkage)

    def forward(self, features: Float[Tensor, "d h w"], categories: Sequence[int]) -> Float[Tensor, "k h w"]:
        """Return the map of each class in [0, 1], its maximum 1, or 0 everywhere if nothing is like the class.

        Args:
            features: of one image, of length 1 in each cell.
            categories: category_ids of the image.
        """
        projected = self._projected(features.flatten(1), categories)
        return scaled_to_one(projected).unflatten(1, features.shape[1:])

    def _projected(self, features: Float[Tensor, "d n"], categories: Sequence[int]) -> Float[Tensor, "k n"]:
        rows = torch.tensor([category - 1 for category in categories], device=features.device, dtype=torch.long)
        return (self.direction[rows] @ features.to(self.direction)).relu()

    def _fit(
        self,
        images: Sequence[Cells],
        maps: Sequence[Tensor],
        object_from: float,
        context_below: float,
        shrinkage: float,
    ) -> None:
        """Learn the directions from the cells that are objects or surroundings on the given maps."""
        classes, channels = self.direction.shape
        sums, counts = torch.zeros(2, classes, channels), torch.zeros(2, classes, 1)
        total, scatter, cells = torch.zeros(channels), torch.zeros(channels, channels), 0
        for image, values in zip(images, maps, strict=True):
            best, strongest = values.cpu().max(0)
            features = image.features.float()
            around = features[best < context_below][:CONTEXT_CELLS]
            for channel, category in enumerate(image.categories):
                inside = features[(best >= object_from) & (strongest == channel)][:OBJECT_CELLS]
                for place, found in enumerate((inside, around)):
                    sums[place, category - 1] += found.sum(0)
                    counts[place, category - 1] += len(found)
                    total += found.sum(0)
                    scatter += found.T @ found
                    cells += len(found)
        if not cells:
            return
        mean = total / cells
        covariance = scatter / cells - torch.outer(mean, mean)
        unit = covariance.diagonal().mean().clamp(min=1e-12)
        shrunk = covariance / unit + shrinkage * torch.eye(channels)
        means = sums / counts.clamp(min=1)
        known = (counts > 0).all(0)
        difference = torch.where(known, means[0] - means[1], 0)
        self.direction.copy_(torch.linalg.solve(shrunk, difference.T).T)


def scaled_to_one(values: Float[Tensor, "k n"]) -> Float[Tensor, "k n"]:
    """Return each map of positive values with a maximum of 1, or 0 everywhere if it was."""
    return values / values.amax(1, keepdim=True).clamp(min=1e-5)
