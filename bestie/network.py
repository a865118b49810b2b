"""The instance segmentation network: semantic, class-wise centre and offset heads (Section 3.2).

One backbone, one decoder for the semantic head and one for the two instance heads, as in Panoptic-DeepLab; which
decoders and heads go together is `bestie.decoders`.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from bestie.backbones import FeatureExtractor
from bestie.decoders import ARCHITECTURES, resize_like
from bestie.errors import InputError


class Outputs(NamedTuple):
    """What the network says of a batch. Offsets are in px of the input, (dy, dx)."""

    semantic: Float[Tensor, "b classes h w"]
    center: Float[Tensor, "b c h w"]
    offset: Float[Tensor, "b 2 h w"]


class BestieNetwork(nn.Module):
    """Backbone, two decoders, three heads.

    Args:
        backbone: feature maps from stride 4.
        num_classes: C, without background.
        decoder: a key of `ARCHITECTURES`.
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
        if decoder not in ARCHITECTURES:
            raise InputError(f"decoder {decoder!r} does not exist; choose one of {', '.join(ARCHITECTURES)}")
        parts = ARCHITECTURES[decoder](backbone, width)
        self.backbone = backbone
        self.semantic_decoder = parts.semantic_decoder
        self.instance_decoder = parts.instance_decoder
        self.semantic_head = parts.head("semantic", num_classes + 1)
        self.center_head = parts.head("center", num_classes if class_wise else 1)
        self.offset_head = parts.head("offset", 2)

    def forward(self, images: Float[Tensor, "b 3 h w"], *, full_size: bool = True) -> Outputs:
        """Normalised images to the three maps, at the input's size or (`full_size=False`) a quarter of it; float32."""
        features = self.backbone(images)
        semantic = self.semantic_head(self.semantic_decoder(features))
        instance = self.instance_decoder(features)
        outputs = Outputs(semantic, self.center_head(instance), self.offset_head(instance) * self.backbone.strides[0])
        return Outputs(*(resize_like(each, images) for each in outputs)) if full_size else outputs
