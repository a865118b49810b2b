"""The instance segmentation network with its semantic, class-wise center and offset heads (Sections 3.2 and 4.2).

It has one backbone, one decoder for the semantic head and one for the two instance heads, as Panoptic-DeepLab does.
`bestie.method.decoders` says which decoders and heads belong together.
"""

from typing import NamedTuple

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from bestie.errors import InputError
from bestie.method.backbones import FeatureExtractor
from bestie.method.decoders import ARCHITECTURES, resize_like


class Outputs(NamedTuple):
    """The network's output for a batch: class logits, center values (not limited to [0, 1]), (dy, dx) in input px."""

    semantic: Float[Tensor, "b classes h w"]
    center: Float[Tensor, "b c h w"]
    offset: Float[Tensor, "b 2 h w"]


class BestieNetwork(nn.Module):
    """A backbone, two decoders and three heads.

    Args:
        backbone: gives feature maps from stride 4 on.
        num_classes: C, without background.
        decoder: a key of `ARCHITECTURES`.
        width: number of channels of the decoders.
        class_wise: whether there is one center map per class (the paper) or one for all (Panoptic-DeepLab).

    Raises:
        InputError: there is no such decoder.
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

    def forward(self, images: Shaped[Tensor, "b 3 h w"], *, full_size: bool = True) -> Outputs:
        """Compute the three maps of RGB images, 0..255, in float32.

        The maps have the size of the images, or with `full_size=False` that of the finest feature map, a quarter of it.
        """
        features = self.backbone(images)
        semantic = self.semantic_head(self.semantic_decoder(features))
        instance = self.instance_decoder(features)
        outputs = Outputs(semantic, self.center_head(instance), self.offset_head(instance) * self.backbone.strides[0])
        return Outputs(*(resize_like(each, images) for each in outputs)) if full_size else outputs
