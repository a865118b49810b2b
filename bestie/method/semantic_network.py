"""A network that turns image-level labels into semantic maps, over the features of one image at several sizes.

It is not part of the paper, which takes the maps from other methods ("WSSS", Table 4). Small objects are seen in the
large version of an image, and the whole of a large object in the small one.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from bestie.method.affinity import BoundaryHead
from bestie.method.backbones import FeatureExtractor
from bestie.method.decoders import FuseDecoder, separable
from bestie.method.discriminants import Discriminants

#: Sides of the scaled images are multiples of this, so that the maps of all scales have the same proportions.
STRIDE_PX = 32


class SemanticNetwork(nn.Module):
    """A backbone that sees each image at several sizes, discriminants, and a decoder with a head for all classes.

    Args:
        backbone: its coarsest map is read at each size, and its finer maps at the smallest one.
        num_classes: C, without background.
        scales: sizes of the image, ascending.
        width: number of channels of the decoder.
        with_boundary: whether there is a head for boundaries between classes, `boundary`.
    """

    def __init__(
        self,
        backbone: FeatureExtractor,
        *,
        num_classes: int,
        scales: tuple[float, ...] = (1.0, 2.0),
        width: int = 192,
        with_boundary: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.scales = scales
        self.discriminants = Discriminants(num_classes, len(scales) * backbone.channels[-1])
        channels = [*backbone.channels, *(backbone.channels[-1] for _ in scales[1:])]
        self.norm = nn.BatchNorm2d(sum(channels), affine=False)
        self.decoder = FuseDecoder([sum(channels)], width=width)
        self.head = nn.Sequential(separable(width, width, 3), nn.Conv2d(width, num_classes + 1, 1))
        # It learns from maps before the rest does, and does not learn with it.
        self.boundary = BoundaryHead(channels).requires_grad_(False) if with_boundary else None

    def pyramid(self, images: Shaped[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Return the backbone's maps: the finer ones at the smallest size, then the coarsest at each size.

        All are resized to the coarsest map of the largest image.

        Args:
            images: RGB, 0..255.
        """
        found = [self.backbone(self._resized(images.float(), scale)) for scale in self.scales]
        maps = [*found[0][:-1], *(each[-1] for each in found)]
        grid = (maps[-1].shape[-2], maps[-1].shape[-1])
        return [_to_grid(each, grid) for each in maps]

    def signature(self, maps: list[Tensor]) -> Float[Tensor, "b d y x"]:
        """Return what the discriminants project: the coarsest maps of all sizes, of length 1 in each cell, joined."""
        coarsest = [F.normalize(each.float(), dim=1) for each in maps[-len(self.scales) :]]
        return torch.cat(coarsest, dim=1) / len(coarsest) ** 0.5

    def forward(self, images: Shaped[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes i j"]:
        """Return logits, background first, on the grid of `pyramid`."""
        return self.classify(torch.cat(self.pyramid(images), dim=1))

    def classify(self, features: Float[Tensor, "b k i j"]) -> Float[Tensor, "b classes i j"]:
        """Return the logits for the maps of `pyramid`, joined."""
        return self.head(self.decoder([self.norm(features)])).float()

    def _resized(self, images: Tensor, scale: float) -> Tensor:
        size = [max(1, round(side * scale / STRIDE_PX)) * STRIDE_PX for side in images.shape[-2:]]
        if size == list(images.shape[-2:]):
            return images
        return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=scale < 1)


def _to_grid(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[-2:]) == grid:
        return maps
    if maps.shape[-1] > grid[-1]:
        return F.adaptive_avg_pool2d(maps, grid)
    return F.interpolate(maps, size=grid, mode="bilinear", align_corners=False)
