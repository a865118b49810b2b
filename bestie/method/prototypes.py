"""Class prototypes: typical features of each class and of its surroundings (LPCAM of Chen and Sun, CVPR 2023).

A classifier's activation map marks the parts of an object that tell its class from others. Features that were gathered
from many images and clustered also describe the other parts: a cat's back in one image is like the back, marked as
discriminative, in another. So the map of a class is the mean likeness to its object prototypes, less the mean likeness
to the prototypes of what surrounds it.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

CLUSTERING_STEPS = 15


class Prototypes(nn.Module):
    """Prototypes of each class; their number K is the same for all.

    Args:
        num_classes: C, without background.
        count: K, prototypes of the objects of a class, and as many of what surrounds them.
        channels: D, length of a feature.
    """

    object: Tensor
    context: Tensor

    def __init__(self, num_classes: int, count: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("object", torch.zeros(num_classes, count, channels))
        self.register_buffer("context", torch.zeros(num_classes, count, channels))

    def learn(
        self,
        category: int,
        objects: Float[Tensor, "n d"],
        context: Float[Tensor, "m d"],
        generator: torch.Generator,
    ) -> None:
        """Cluster the features of one class.

        Args:
            category: its category_id.
            objects: features, of length 1, where the class is active. Without any, the map of the class stays 0.
            context: features where no class is active, in images that show the class.
            generator: draws the first centers.
        """
        for name, features in (("object", objects), ("context", context)):
            held = self.get_buffer(name)
            if len(features):
                held[category - 1] = cluster(features, held.shape[1], generator).to(held)

    def forward(self, features: Float[Tensor, "d h w"], categories: list[int]) -> Float[Tensor, "n h w"]:
        """Return the map of each class in [0, 1], its maximum 1, or 0 everywhere if nothing is like the class.

        Args:
            features: of one image, of length 1 in each cell.
            categories: category_ids of the image.
        """
        rows = torch.tensor([category - 1 for category in categories], device=features.device, dtype=torch.long)
        likeness = [
            torch.einsum("nkd,dhw->nkhw", self.get_buffer(name)[rows], features).relu().mean(1)
            for name in ("object", "context")
        ]
        maps = (likeness[0] - likeness[1]).relu()
        return maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-5)


def cluster(features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Float[Tensor, "count d"]:
    """Return the centers of spherical k-means, of length 1; with fewer features than centers, some centers are alike.

    Args:
        features: of length 1.
        count: number of centers.
        generator: draws the features from which the centers start.
    """
    order = torch.randperm(len(features), generator=generator)[:count]
    centers = features[order.repeat(-(-count // len(order)))[:count]].clone()
    for _ in range(CLUSTERING_STEPS):
        nearest = (features @ centers.T).argmax(1)
        sums = F.one_hot(nearest, count).to(features.dtype).T @ features
        found = sums.norm(dim=1) > 0
        centers[found] = F.normalize(sums[found], dim=1)
    return centers
