"""The classifier with the peak attention module (PAM): Section 3.3, Figures 4 and 10, Listing 2.

A classifier looks at many parts of an object; its activation map then has several peaks for one object,
and none of them can serve as the cue of that object. PAM keeps only what is close to each channel's
maximum, so the classifier learns to answer from one sparse, representative region an object.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bestie.backbones import FeatureExtractor, PeakHead

ADDED_LAYERS = (4, 5, 6)


def peak_attention(features: Float[Tensor, "b k h w"], alpha: float) -> Float[Tensor, "b k h w"]:
    """Zero everything below `alpha` times its channel's maximum (Listing 2).

    Selector: the criteria points S_p are the channel maxima. Controller: G_p = alpha for all channels.
    Peak stimulator: values below tau_p = S_p * G_p are noise and are set to zero.

    Args:
        features: before or after ReLU; negative values count as zero.
        alpha: in [0, 1]; 0 is a plain ReLU, 1 keeps the maxima alone.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    features = F.relu(features)
    boundary = features.amax(dim=(2, 3), keepdim=True) * alpha
    return features.masked_fill(features < boundary, 0)


class PeakAttention(nn.Module):
    """`peak_attention` as a layer. It has no weights; `enabled = False` makes it a plain ReLU."""

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.enabled = True

    def forward(self, features: Tensor) -> Tensor:
        """`b k h w` to `b k h w`, nothing negative."""
        return peak_attention(features, self.alpha) if self.enabled else F.relu(features)


def start_as_pointwise(convolution: nn.Conv2d) -> None:
    """Draw the centre tap of 3 x 3 filters; the others start at zero.

    Image-level labels do not say where an activation belongs: three layers of random filters put the peaks of the
    generated data 14 px (median) off the part that caused them, each class in a direction of its own.
    """
    center = convolution.weight.new_empty(*convolution.weight.shape[:2], 1, 1)
    nn.init.kaiming_normal_(center, nonlinearity="relu")
    with torch.no_grad():
        convolution.weight.zero_()
        convolution.weight[:, :, 1:2, 1:2] = center


def start_from_all_taps(convolution: nn.Conv2d) -> None:
    """Draw all taps so that the variance of gradients stays (He et al., by fan-out); biases are 0."""
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


class Classifier(nn.Module):
    """Backbone, three added convolutions (layers 4, 5, 6), one activation map a class, global mean.

    Args:
        backbone: its coarsest map feeds layer 4.
        num_classes: C, without background.
        width: channels of the added layers.
        alpha: boundary of the peak regions.
        attention_layers: which of layers 4, 5, 6 carry PAM (Table 8; the paper's best is 6 alone).
        normalized: batch normalisation in the added layers, for backbones that have it.
        pointwise_start: `start_as_pointwise` for the added layers; otherwise all taps are drawn (He et al.).
    """

    def __init__(
        self,
        backbone: FeatureExtractor,
        *,
        num_classes: int,
        width: int = 512,
        alpha: float = 0.7,
        attention_layers: tuple[int, ...] = (6,),
        normalized: bool = True,
        pointwise_start: bool = True,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.added = nn.ModuleList()
        channels = backbone.channels[-1]
        for layer in ADDED_LAYERS:
            attention = PeakAttention(alpha) if layer in attention_layers else nn.ReLU()
            norm = nn.BatchNorm2d(width) if normalized else nn.Identity()
            convolution = nn.Conv2d(channels, width, 3, padding=1, bias=not normalized)
            if pointwise_start:
                start_as_pointwise(convolution)
            else:
                start_from_all_taps(convolution)
            self.added.append(nn.Sequential(convolution, norm, attention))
            channels = width
        self.head = PeakHead(width, num_classes)

    def attend(self, enabled: bool) -> None:
        """Switch all peak attention modules on or off (a plain classifier is a better start)."""
        for module in self.modules():
            if isinstance(module, PeakAttention):
                module.enabled = enabled

    def activation_maps(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c i j"]:
        """Class activation maps at the backbone's stride, before ReLU, in float32; their mean is the logit."""
        features = self.backbone(images)[-1]
        for layer in self.added:
            features = layer(features)
        return self.head(features)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c"]:
        """Logits, one a class; a sigmoid makes them probabilities."""
        return self.activation_maps(images).mean(dim=(2, 3))


def normalize_activation(
    maps: Float[Tensor, "b c h w"], labels: Float[Tensor, "b c"], *, eps: float = 1e-5
) -> Float[Tensor, "b c h w"]:
    """ReLU, then each map divided by its maximum; classes that the image does not have become zero.

    Args:
        maps: `Classifier.activation_maps`.
        labels: 1 where the image has the class, else 0.

    Returns:
        Values in [0, 1].
    """
    maps = F.relu(maps)
    maps = maps / (maps.amax(dim=(2, 3), keepdim=True) + eps)
    return torch.clamp(maps, 0, 1) * labels[:, :, None, None]
