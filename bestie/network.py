"""The instance segmentation network: semantic, class-wise centre and offset heads (Section 3.2).

Panoptic-DeepLab's design: one backbone, one decoder for the semantic head and one for the two instance
heads. Decoders differ by backbone: `FuseDecoder` is small, `PanopticDeepLabDecoder` is the original with
atrous spatial pyramid pooling, `HrnetDecoder` joins HRNet's parallel resolutions.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bestie.backbones import FeatureExtractor
from bestie.errors import InputError


class Outputs(NamedTuple):
    """What the network says of a batch. Offsets are in px of the input, (dy, dx)."""

    semantic: Float[Tensor, "b classes h w"]
    center: Float[Tensor, "b c h w"]
    offset: Float[Tensor, "b 2 h w"]


def _unit(inputs: int, outputs: int, kernel: int = 1, *, groups: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _separable(inputs: int, outputs: int, kernel: int = 5, *, dilation: int = 1) -> nn.Sequential:
    depthwise = _unit(inputs, inputs, kernel, groups=inputs, dilation=dilation)
    return nn.Sequential(depthwise, _unit(inputs, outputs))


def _resize_like(source: Tensor, target: Tensor) -> Tensor:
    return F.interpolate(source, size=target.shape[-2:], mode="bilinear", align_corners=False)


class FuseDecoder(nn.Module):
    """Sum of all strides at the finest one, with image context and depthwise filters."""

    def __init__(self, channels: list[int], *, width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(_unit(c, width) for c in channels)
        self.context = nn.ModuleList(_unit(width, width, 3, groups=width, dilation=d) for d in (1, 3, 6))
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1))
        self.join = _unit(width, width)
        self.fuse = nn.ModuleList(_separable(width, width, 3) for _ in channels[1:])

    def forward(self, features: list[Tensor]) -> Float[Tensor, "b width h w"]:
        """Feature maps, finest first, to one map at the finest stride."""
        coarsest = self.lateral[-1](features[-1])
        context = sum(branch(coarsest) for branch in self.context)
        top = self.join(coarsest + context + self.image(coarsest))
        finer = list(zip(features[:-1], self.lateral[:-1], self.fuse, strict=True))
        for feature, lateral, fuse in reversed(finer):
            side = lateral(feature)
            top = fuse(_resize_like(top, side) + side)
        return top


class PanopticDeepLabDecoder(nn.Module):
    """ASPP on the coarsest map, then two joins with finer ones (Cheng et al., CVPR 2020)."""

    def __init__(self, channels: list[int], *, width: int, rates: tuple[int, ...] = (6, 12, 18)) -> None:
        super().__init__()
        coarsest = channels[-1]
        self.pointwise = _unit(coarsest, width)
        self.atrous = nn.ModuleList(_unit(coarsest, width, 3, dilation=rate) for rate in rates)
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(coarsest, width, 1), nn.ReLU(inplace=True))
        self.join = nn.Sequential(_unit(width * (len(rates) + 2), width), nn.Dropout(0.5))
        sides = [max(width // 4 // 2**step, 16) for step in range(len(channels) - 1)]
        self.lateral = nn.ModuleList(_unit(c, s) for c, s in zip(reversed(channels[:-1]), sides, strict=True))
        self.fuse = nn.ModuleList(_separable(width + side, width) for side in sides)

    def forward(self, features: list[Tensor]) -> Float[Tensor, "b width h w"]:
        """Feature maps, finest first, to one map at the finest stride."""
        coarsest = features[-1]
        image = self.image(coarsest).expand(-1, -1, *coarsest.shape[-2:])
        top = self.join(torch.cat([self.pointwise(coarsest), *(branch(coarsest) for branch in self.atrous), image], 1))
        for feature, lateral, fuse in zip(reversed(features[:-1]), self.lateral, self.fuse, strict=True):
            side = lateral(feature)
            top = fuse(torch.cat([_resize_like(top, side), side], 1))
        return top


class HrnetDecoder(nn.Module):
    """All resolutions of HRNet resized to the finest and joined by one pointwise convolution."""

    def __init__(self, channels: list[int], *, width: int) -> None:
        super().__init__()
        self.join = _unit(sum(channels), width)

    def forward(self, features: list[Tensor]) -> Float[Tensor, "b width h w"]:
        """Feature maps, finest first, to one map at the finest stride."""
        finest = features[0]
        return self.join(torch.cat([finest, *(_resize_like(f, finest) for f in features[1:])], 1))


DECODERS = {"fuse": FuseDecoder, "panoptic_deeplab": PanopticDeepLabDecoder, "hrnet": HrnetDecoder}


class BestieNetwork(nn.Module):
    """Backbone, two decoders, three heads.

    Args:
        backbone: feature maps from stride 4.
        num_classes: C, without background.
        decoder: a key of `DECODERS`.
        width: channels of the decoders.
        class_wise: one centre map a class (the paper), or one for all (Panoptic-DeepLab).
    """

    def __init__(
        self,
        backbone: FeatureExtractor,
        *,
        num_classes: int,
        decoder: str = "fuse",
        width: int = 64,
        class_wise: bool = True,
    ) -> None:
        super().__init__()
        if decoder not in DECODERS:
            raise InputError(f"decoder {decoder!r} does not exist; choose one of {', '.join(DECODERS)}")
        self.backbone = backbone
        self.semantic_decoder = DECODERS[decoder](backbone.channels, width=width)
        self.instance_decoder = DECODERS[decoder](backbone.channels, width=width)
        self.semantic_head = self._head(width, num_classes + 1)
        self.center_head = self._head(width, num_classes if class_wise else 1)
        self.offset_head = self._head(width, 2)

    @staticmethod
    def _head(width: int, outputs: int) -> nn.Sequential:
        last = nn.Conv2d(width, outputs, 1)
        # Centre errors are squared and count 200 times: outputs of the usual size would drown all else at first.
        nn.init.normal_(last.weight, std=1e-3)
        return nn.Sequential(_separable(width, width, 3), last)

    def forward(self, images: Float[Tensor, "b 3 h w"], *, full_size: bool = True) -> Outputs:
        """Normalised images to the three maps, at the input's size or (`full_size=False`) a quarter of it."""
        features = self.backbone(images)
        semantic = self.semantic_head(self.semantic_decoder(features))
        instance = self.instance_decoder(features)
        outputs = Outputs(semantic, self.center_head(instance), self.offset_head(instance) * self.backbone.strides[0])
        return Outputs(*(_resize_like(each.float(), images) for each in outputs)) if full_size else outputs
