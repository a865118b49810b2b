"""Section `train_mrcnn`: Mask R-CNN on the export."""

from typing import Literal

from bestie.params.section import Count, Fraction, option
from bestie.params.training import Training


class TrainMrcnn(Training):
    """Mask R-CNN on the export.

    `architecture: maskrcnn_resnet50_fpn` is torchvision's own model: its first weights are those of a ResNet-50, it
    has its own sizes and proposals, and of the keys below only `min_side_px`, `max_side_px` and `jitter` count.
    """

    architecture: Literal["maskrcnn_timm_fpn", "maskrcnn_resnet50_fpn"] = option(
        "maskrcnn_timm_fpn", "Mask R-CNN on the backbone above, or torchvision's own model"
    )
    min_side_px: Count = option(128, "images are scaled to this shorter side in px")
    max_side_px: Count = option(160, "but to no longer side than this")
    width: Count = option(96, "channels of the feature pyramid and of the heads")
    anchor_sizes_px: tuple[Count, ...] = option((16, 32, 64), "side of the anchors in px, one for each feature map")
    proposals: Count = option(100, "proposals that the heads see of each image")
    box_batch: Count = option(64, "boxes of each image that the box head learns from")
    jitter: Fraction = option(0.3, "strength of the color jitter")
    smaller_sides_px: tuple[Count, ...] = option(
        (), "in training, the shorter side is one of these or `min_side_px`, drawn for each image"
    )
    decoder: Literal["previous", "fuse", "panoptic_deeplab", "hrnet"] | None = option(
        None, "`previous`: the network's decoders, frozen as the backbone must be, feed the pyramid, too; null: none"
    )
    decoder_width: Count | None = option(None, "their width; null: that of the network")
