"""The classifier with the peak attention module (PAM): Section 3.3, Figures 4 and 10, Listing 2.

A plain classifier responds to many parts of an object, so its activation map has several peaks for one object, and
none of them can serve as that object's cue. PAM keeps only the values close to each channel's maximum, so the
classifier learns to respond to one small, representative region per object.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from bestie.method.backbones import FeatureExtractor, PeakHead

ADDED_LAYERS = (4, 5, 6)


def peak_attention(features: Float[Tensor, "b k h w"], alpha: float) -> Float[Tensor, "b k h w"]:
    """Zero everything below `alpha` times its channel's maximum (Listing 2).

    Selector: the criteria points S_p are the channel maxima. Controller: G_p = alpha for all channels.
    Peak stimulator: values below tau_p = S_p * G_p are noise and are set to zero.

    Args:
        features: before or after ReLU; negative values count as zero.
        alpha: in [0, 1]; 0 is a plain ReLU, 1 keeps only the maxima.

    Raises:
        ValueError: `alpha` is outside [0, 1].
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
        """Return the features, `b k h w`, with everything outside the peak regions set to zero."""
        return peak_attention(features, self.alpha) if self.enabled else F.relu(features)


def start_as_pointwise(convolution: nn.Conv2d) -> None:
    """Draw the center tap of 3 x 3 filters at random and set all other taps to zero.

    Image-level labels do not say where an activation belongs: on the generated data, three layers of random filters
    moved the peaks 14 px (median) away from the part that caused them, in a different direction for each class.
    """
    center = convolution.weight.new_empty(*convolution.weight.shape[:2], 1, 1)
    nn.init.kaiming_normal_(center, nonlinearity="relu")
    with torch.no_grad():
        convolution.weight.zero_()
        convolution.weight[:, :, 1:2, 1:2] = center


def start_from_all_taps(convolution: nn.Conv2d) -> None:
    """Draw all taps at random so that gradients keep their variance (He et al., by fan-out), and set biases to zero."""
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


class Classifier(nn.Module):
    """A backbone, three added convolutions (layers 4 to 6), and an activation map with its mean per class (Figure 10).

    Args:
        backbone: its coarsest map feeds layer 4.
        num_classes: C, without background.
        width: number of channels of the added layers.
        alpha: the boundary of peak regions, as a part of the channel maximum, in [0, 1] (Table 7).
        attention_layers: which of the layers 4, 5, 6 have PAM; in Table 8, PAM in layer 6 alone is best.
        normalized: whether the added layers have batch normalization, for backbones that have it.
        pointwise_start: whether the added layers start by `start_as_pointwise` or by `start_from_all_taps`.
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
        """Switch all peak attention modules on or off; training starts better as a plain classifier."""
        for module in self.modules():
            if isinstance(module, PeakAttention):
                module.enabled = enabled

    def activation_maps(self, images: Shaped[Tensor, "b 3 h w"]) -> Float[Tensor, "b c i j"]:
        """Compute class activation maps of RGB images, 0..255, before ReLU, in float32; their means are logits.

        The maps have the backbone's stride.
        """
        features = self.backbone(images)[-1]
        for layer in self.added:
            features = layer(features)
        return self.head(features)

    def forward(self, images: Shaped[Tensor, "b 3 h w"]) -> Float[Tensor, "b c"]:
        """Return one logit per class of RGB images, 0..255; a sigmoid turns logits into probabilities."""
        return self.activation_maps(images).mean(dim=(2, 3))


def normalize_activation(
    maps: Float[Tensor, "b c h w"], labels: Float[Tensor, "b c"], *, eps: float = 1e-5
) -> Float[Tensor, "b c h w"]:
    """Apply a ReLU, divide each map by its maximum, and set the maps of classes that the image lacks to zero.

    Args:
        maps: from `Classifier.activation_maps`.
        labels: 1 for each class of the image, 0 for all others.
        eps: is added to each maximum before the division.

    Returns:
        Maps in [0, 1].
    """
    maps = F.relu(maps)
    maps = maps / (maps.amax(dim=(2, 3), keepdim=True) + eps)
    return torch.clamp(maps, 0, 1) * labels[:, :, None, None]
