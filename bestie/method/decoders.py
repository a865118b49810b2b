"""Decoders, which join a backbone's feature maps into one at the finest stride, and the heads on them (Section 4.2).

The paper follows Panoptic-DeepLab; its appendix compares HRNet-W48 with ResNet-50.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bestie.method.backbones import DilatedDepthwise, FeatureExtractor, PeakHead
from bestie.method.resizing import resize

Head = Callable[[str, int], nn.Sequential]


class Architecture(NamedTuple):
    """A decoder for the semantic head, one for the two instance heads, and a function that builds the heads.

    `name` is the key in `ARCHITECTURES` and `width` what it was built with; `channels` is the number of channels of
    both decoders together. `head(name, outputs)` builds the head "semantic", "center" or "offset" with `outputs`
    channels; its last layer is a `PeakHead`.
    """

    semantic_decoder: nn.Module
    instance_decoder: nn.Module
    head: Head
    channels: int
    name: str
    width: int


def unit(inputs: int, outputs: int, kernel: int = 1, *, groups: int = 1, dilation: int = 1) -> nn.Sequential:
    """Return a convolution, batch normalization and ReLU that keep height and width."""
    layer = DilatedDepthwise if dilation > 1 and groups > 1 else nn.Conv2d
    padding = dilation * (kernel // 2)
    convolution = layer(inputs, outputs, kernel, padding=padding, dilation=dilation, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def separable(inputs: int, outputs: int, kernel: int = 5) -> nn.Sequential:
    """Return a depthwise unit followed by a pointwise one."""
    return nn.Sequential(unit(inputs, inputs, kernel, groups=inputs), unit(inputs, outputs))


def resize_like(source: Tensor, target: Tensor) -> Tensor:
    """Resize `source` bilinearly to the height and width of `target`."""
    return resize(source, (target.shape[-2], target.shape[-1]))


class FuseDecoder(nn.Module):
    """A sum of all feature maps at the finest stride, with context from the whole image and depthwise filters.

    Args:
        channels: number of channels of each feature map, finest first.
        width: number of channels of the result.
    """

    def __init__(self, channels: list[int], *, width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(unit(c, width) for c in channels)
        self.context = nn.ModuleList(unit(width, width, 3, groups=width, dilation=d) for d in (1, 3, 6))
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1))
        self.join = unit(width, width)
        self.fuse = nn.ModuleList(separable(width, width, 3) for _ in channels[1:])

    def forward(self, features: list[Tensor]) -> Float[Tensor, "b width h w"]:
        """Join feature maps, finest first, into one map at the finest stride."""
        coarsest = self.lateral[-1](features[-1])
        context = sum(branch(coarsest) for branch in self.context)
        top = self.join(coarsest + context + self.image(coarsest))
        finer = list(zip(features[:-1], self.lateral[:-1], self.fuse, strict=True))
        for feature, lateral, fuse in reversed(finer):
            side = lateral(feature)
            top = fuse(resize_like(top, side) + side)
        return top


class PanopticDeepLabDecoder(nn.Module):
    """Atrous spatial pyramid pooling on the coarsest map, then a join with each finer one (Cheng et al., CVPR 2020).

    Args:
        channels: number of channels of each feature map, finest first.
        strides: stride of each feature map in px.
        pooled: number of channels of the pyramid.
        width: number of channels of the joins.
    """

    def __init__(self, channels: list[int], strides: list[int], *, pooled: int, width: int) -> None:
        super().__init__()
        coarsest = channels[-1]
        # The same reach in px at every output stride: 6, 12, 18 at stride 16.
        rates = [96 * step // strides[-1] for step in (1, 2, 3)]
        self.pointwise = unit(coarsest, pooled)
        self.atrous = nn.ModuleList(unit(coarsest, pooled, 3, dilation=rate) for rate in rates)
        image = nn.Conv2d(coarsest, pooled, 1, bias=False)
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), image, nn.ReLU(inplace=True))
        self.join = nn.Sequential(unit(pooled * (len(rates) + 2), pooled), nn.Dropout(0.5))
        sides = [max(width * stride // 32, 1) for stride in reversed(strides[:-1])]
        self.lateral = nn.ModuleList(unit(c, s) for c, s in zip(reversed(channels[:-1]), sides, strict=True))
        inputs = [pooled, *[width] * (len(sides) - 1)]
        self.fuse = nn.ModuleList(separable(i + s, width) for i, s in zip(inputs, sides, strict=True))

    def forward(self, features: list[Tensor]) -> Float[Tensor, "b width h w"]:
        """Join feature maps, finest first, into one map at the finest stride."""
        coarsest = features[-1]
        image = self.image(coarsest).expand(-1, -1, *coarsest.shape[-2:])
        top = self.join(torch.cat([self.pointwise(coarsest), *(branch(coarsest) for branch in self.atrous), image], 1))
        for feature, lateral, fuse in zip(reversed(features[:-1]), self.lateral, self.fuse, strict=True):
            side = lateral(feature)
            top = fuse(torch.cat([resize_like(top, side), side], 1))
        return top


class FinestMap(nn.Module):
    """The finest map as it is, in which HRNet has already joined its resolutions (Sun et al., CVPR 2019)."""

    def forward(self, features: list[Tensor]) -> Float[Tensor, "b width h w"]:
        """Return the first of the feature maps, which are ordered finest first."""
        return features[0]


def fuse(backbone: FeatureExtractor, width: int) -> Architecture:
    """Return a small network for few images: two `FuseDecoder`, and heads with one separable convolution."""

    def head(_name: str, outputs: int) -> nn.Sequential:
        last = _near_zero(PeakHead(width, outputs))
        return nn.Sequential(separable(width, width, 3), last)

    decoders = [FuseDecoder(backbone.channels, width=width) for _ in range(2)]
    return Architecture(decoders[0], decoders[1], head, 2 * width, "fuse", width)


def panoptic_deeplab(backbone: FeatureExtractor, width: int) -> Architecture:
    """Return Panoptic-DeepLab; the instance branch has half of `width` channels, the offset head an eighth.

    A `width` of 256 gives Panoptic-DeepLab's own numbers of channels.
    """
    half = width // 2
    channels, strides = backbone.channels, backbone.strides
    shapes = {"semantic": (width, width), "center": (half, half), "offset": (half, width // 8)}

    def head(name: str, outputs: int) -> nn.Sequential:
        inputs, hidden = shapes[name]
        return nn.Sequential(separable(inputs, hidden), _near_zero(PeakHead(hidden, outputs)))

    return Architecture(
        PanopticDeepLabDecoder(channels, strides, pooled=width, width=width),
        PanopticDeepLabDecoder(channels, strides, pooled=width, width=half),
        head,
        width + half,
        "panoptic_deeplab",
        width,
    )


def hrnet(backbone: FeatureExtractor, width: int) -> Architecture:
    """Return the authors' network: three heads of two convolutions on HRNet's finest map.

    `width` is the number of channels between the two convolutions, 256 in the authors' release.
    """

    def head(_name: str, outputs: int) -> nn.Sequential:
        first = nn.Conv2d(backbone.channels[0], width, 3, padding=1)
        return nn.Sequential(first, nn.ReLU(inplace=True), _near_zero(PeakHead(width, outputs)))

    return Architecture(FinestMap(), FinestMap(), head, 2 * backbone.channels[0], "hrnet", width)


ARCHITECTURES = {"fuse": fuse, "panoptic_deeplab": panoptic_deeplab, "hrnet": hrnet}


def _near_zero(last: nn.Conv2d) -> nn.Conv2d:
    """Draw small weights for a head's last layer and return it.

    Center errors are squared and count 200 times (Eq. 6): outputs of the usual size would drown out all other terms
    at first.
    """
    nn.init.normal_(last.weight, std=1e-3)
    return last
