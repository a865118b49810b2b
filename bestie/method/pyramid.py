"""The feature pyramid of Mask R-CNN, over a backbone and, optionally, what the network has learned.

The network is trained before Mask R-CNN and on every pixel, so its decoders know the classes from the same images. With
few images, Mask R-CNN does not find them again by itself.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation, FeaturePyramidNetwork

from bestie.method.backbones import FeatureExtractor
from bestie.method.decoders import Architecture


class PyramidBackbone(nn.Module):
    """A feature pyramid over all strides of a backbone, with batch normalization.

    The maps of some backbones, EfficientNet among them, end in a linear layer, and nothing else fixes their scale.

    Args:
        backbone: gives the feature maps.
        width: number of channels of each level.
        decoders: the two decoders of a trained network on that backbone; None: none. They are frozen, and their maps
            are averaged to the size of each level and added to it after a convolution that is trained.

    Attributes:
        built_from: the parameters of `train_mrcnn` that name these decoders, for the artifact.
    """

    def __init__(self, backbone: FeatureExtractor, *, width: int, decoders: Architecture | None = None) -> None:
        super().__init__()
        self.extractor = backbone
        self.pyramid = FeaturePyramidNetwork(backbone.channels, width, norm_layer=nn.BatchNorm2d)
        self.out_channels = width
        self.decoders = nn.ModuleList()
        self.joins = nn.ModuleList()
        self.built_from: dict[str, str | int] = {}
        if decoders is not None:
            self.decoders.extend([decoders.semantic_decoder, decoders.instance_decoder]).requires_grad_(False)
            self.built_from = {"decoder": decoders.name, "decoder_width": decoders.width}
            self.joins.extend(_join(decoders.channels, width) for _ in backbone.channels)

    def train(self, mode: bool = True) -> "PyramidBackbone":
        """Switch to training or evaluation mode; the decoders stay in evaluation mode."""
        super().train(mode)
        self.decoders.eval()
        return self

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the feature maps of images that torchvision has normalized by name, "0", "1", ..., finest first."""
        features = self.extractor.features(images)
        levels = self.pyramid(OrderedDict((str(level), each) for level, each in enumerate(features)))
        if not self.decoders:
            return levels
        with torch.no_grad():
            decoded = torch.cat([decoder(features) for decoder in self.decoders], 1)
        for join, (name, level) in zip(self.joins, list(levels.items()), strict=True):
            levels[name] = level + join(F.adaptive_avg_pool2d(decoded, level.shape[-2:]))
        return levels


def _join(inputs: int, outputs: int) -> nn.Sequential:
    return Conv2dNormActivation(inputs, outputs, 1, activation_layer=None)
