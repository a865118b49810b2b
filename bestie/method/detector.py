"""Mask R-CNN, trained on exported labels (the MRCNN refinement of Section 4.2, Tables 1 and 2).

The detector is torchvision's: with its standard ResNet-50, or with any backbone from `timm`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign
from torchvision.ops.poolers import initLevelMapper

from bestie.method.backbones import IMAGENET, FeatureExtractor, Normalization
from bestie.method.decoders import Architecture
from bestie.method.pyramid import PyramidBackbone

ASPECTS = (0.5, 1.0, 2.0)
BOX_SIDE, MASK_SIDE = 7, 14
STANDARD_STRIDES_PX = (4, 8, 16, 32)
STANDARD_PROPOSALS = 1000
STANDARD_LAYERS, STANDARD_TRAINABLE_LAYERS = 5, 3


class Selection(NamedTuple):
    """What is kept when a detector is used.

    Attributes:
        proposals: number of proposals after non-maximum suppression; None: as many as the model was built with.
        nms: of two detections of one class whose boxes have a larger IoU, the better one is kept.
    """

    proposals: int | None = None
    nms: float = 0.5


USUAL = Selection()


class SharedBoxes(nn.Module):
    """The last layer of the box head: a score for each class, and one box for all of them.

    A class of a few dozen labels does not show how boxes fit, and all classes together do (R-FCN, Dai et al., NeurIPS
    2016; Cascade R-CNN, Cai and Vasconcelos, CVPR 2018).

    Args:
        inputs: number of channels of a proposal.
        num_outputs: number of classes, background included.
    """

    def __init__(self, inputs: int, num_outputs: int) -> None:
        super().__init__()
        self.scores, self.box = nn.Linear(inputs, num_outputs), nn.Linear(inputs, 4)

    def forward(self, proposals: Tensor) -> tuple[Tensor, Tensor]:
        """Return class scores (`n k`) and for each class the same box (`n 4k`), as torchvision expects them."""
        scores = self.scores(proposals)
        return scores, self.box(proposals).repeat(1, scores.shape[1])


class SharedMasks(MaskRCNNPredictor):
    """The last layers of the mask head, with one mask for all classes, as `SharedBoxes` has one box.

    He et al. (ICCV 2017, Section 4.1) found such masks nearly as good as one mask a class: 29.7 against 30.3 AP on
    COCO, where no class lacks labels.

    Args:
        inputs: number of channels of a proposal's map.
        hidden: number of channels before the last layer.
        num_outputs: number of classes, background included.
    """

    def __init__(self, inputs: int, hidden: int, num_outputs: int) -> None:
        super().__init__(inputs, hidden, 1)
        self._num_outputs = num_outputs

    def forward(self, proposals: Tensor) -> Tensor:
        """Return for each class the same mask, `n k h w` of logits, as torchvision expects them."""
        return super().forward(proposals).expand(-1, self._num_outputs, -1, -1)


class PastingOnHost(GeneralizedRCNNTransform):
    """torchvision's scaling of images to the model and of its answers back, which puts masks into images on the host.

    It reads every number of every box to do so: on a GPU, that would be a dozen waits for each detection.
    """

    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Return detections in pixels of the original images, and full-size masks, on the host."""
        on_host = [{name: value.cpu() for name, value in found.items()} for found in result]
        return super().postprocess(on_host, image_shapes, original_image_sizes)


def build_standard_detector(
    *,
    num_classes: int,
    pretrained: bool,
    min_side_px: int = 800,
    max_side_px: int = 1333,
    normalization: Normalization = IMAGENET,
    selection: Selection = USUAL,
) -> MaskRCNN:
    """Build torchvision's `maskrcnn_resnet50_fpn` by its own recipe, with random weights.

    Args:
        num_classes: C, without background, which is added here.
        pretrained: whether the backbone (`detector.backbone.body`) will be given ImageNet weights. If so, its batch
            statistics, stem and first stage are frozen; otherwise all weights are trained.
        min_side_px: the shorter side of each image is scaled to this.
        max_side_px: the longer side is never scaled above this.
        normalization: how images are normalized.
        selection: what is kept when it is used.
    """
    backbone = resnet_fpn_backbone(
        backbone_name="resnet50",
        weights=None,
        norm_layer=FrozenBatchNorm2d if pretrained else nn.BatchNorm2d,
        trainable_layers=STANDARD_TRAINABLE_LAYERS if pretrained else STANDARD_LAYERS,
    )
    detector = MaskRCNN(
        backbone,
        num_classes + 1,
        min_size=min_side_px,
        max_size=max_side_px,
        image_mean=normalization.mean,
        image_std=normalization.std,
        rpn_post_nms_top_n_test=selection.proposals or STANDARD_PROPOSALS,
        box_nms_thresh=selection.nms,
    )
    return _prepared(detector, STANDARD_STRIDES_PX)


def build_detector(
    backbone: FeatureExtractor,
    *,
    num_classes: int,
    width: int = 96,
    min_side_px: int = 800,
    max_side_px: int = 1333,
    anchor_sizes_px: tuple[int, ...] = (16, 32, 64),
    proposals: int = 100,
    box_batch: int = 64,
    smaller_sides_px: tuple[int, ...] = (),
    decoders: Architecture | None = None,
    selection: Selection = USUAL,
) -> MaskRCNN:
    """Build Mask R-CNN over any backbone, for few labels: its boxes and masks are shared by all classes.

    Args:
        backbone: gives the feature maps of the pyramid.
        num_classes: C, without background, which is added here.
        width: number of channels of the pyramid and the heads.
        min_side_px: the shorter side of each image is scaled to this.
        max_side_px: the longer side is never scaled above this.
        anchor_sizes_px: side of the anchors of each feature map, one per stride of the backbone.
        proposals: number of proposals that are kept after non-maximum suppression.
        box_batch: number of boxes per image that the box head learns from.
        smaller_sides_px: in training, the shorter side is one of these or `min_side_px`, drawn for each image.
        decoders: those of a trained network, whose maps are added to the pyramid; None: none.
        selection: what is kept when it is used.

    Raises:
        ValueError: the number of anchor sizes is not that of the backbone's feature maps.
    """
    levels = len(backbone.strides)
    sizes = tuple((size,) for size in anchor_sizes_px)
    if len(sizes) != levels:
        raise ValueError(f"{levels} feature maps need {levels} anchor sizes, not {len(sizes)}")
    detector = MaskRCNN(
        PyramidBackbone(backbone, width=width, decoders=decoders),
        min_size=(*smaller_sides_px, min_side_px),  # the last one counts when the model is used
        max_size=max_side_px,
        image_mean=backbone.normalization.mean,
        image_std=backbone.normalization.std,
        rpn_anchor_generator=AnchorGenerator(sizes, (ASPECTS,) * levels),
        rpn_head=RPNHead(width, len(ASPECTS)),
        rpn_pre_nms_top_n_train=proposals * 4,
        rpn_pre_nms_top_n_test=(selection.proposals or proposals) * 2,
        rpn_post_nms_top_n_train=proposals * 2,
        rpn_post_nms_top_n_test=selection.proposals or proposals,
        box_nms_thresh=selection.nms,
        rpn_batch_size_per_image=box_batch * 2,
        box_batch_size_per_image=box_batch,
        **_heads(levels, width=width, num_outputs=num_classes + 1),
    )
    return _prepared(detector, backbone.strides)


def _heads(levels: int, *, width: int, num_outputs: int) -> dict[str, nn.Module]:
    """Return the parts of the box head and the mask head, which both look at all levels, by torchvision's names."""
    names, hidden = [str(level) for level in range(levels)], width * 2
    return {
        "box_roi_pool": MultiScaleRoIAlign(names, BOX_SIDE, sampling_ratio=2),
        "box_head": TwoMLPHead(width * BOX_SIDE**2, hidden),
        "box_predictor": SharedBoxes(hidden, num_outputs),
        "mask_roi_pool": MultiScaleRoIAlign(names, MASK_SIDE, sampling_ratio=2),
        "mask_head": MaskRCNNHeads(width, (width, width), 1),
        "mask_predictor": SharedMasks(width, width, num_outputs),
    }


def _prepared(detector: MaskRCNN, strides: Sequence[int]) -> MaskRCNN:
    """Return the detector, with what differs from torchvision's own."""
    _give_strides(detector, strides)
    _keep_boxes_exact(detector)
    usual = detector.transform
    detector.transform = PastingOnHost(usual.min_size, usual.max_size, usual.image_mean, usual.image_std)
    return detector


def _give_strides(detector: MaskRCNN, strides: Sequence[int]) -> None:
    """Tell the poolers the strides of their maps.

    They would otherwise guess the strides from the first batch: wrongly if images are much smaller than their padded
    size, and perhaps differently when a training is resumed.
    """
    first, last = (int(math.log2(strides[level])) for level in (0, -1))
    for pooler in (detector.roi_heads.box_roi_pool, detector.roi_heads.mask_roi_pool):
        pooler.scales = [1 / stride for stride in strides]
        pooler.map_levels = initLevelMapper(first, last)


def _keep_boxes_exact(detector: MaskRCNN) -> None:
    """Let the two layers that move boxes answer in float32, even under autocast.

    torchvision computes proposals, true boxes and their differences in the precision of these answers. From 256 px on,
    neighboring values of bf16 are 2 px apart, and a narrow box can lose its width, whose logarithm is then infinite.
    """
    for layer in (detector.rpn.head, detector.roi_heads.box_predictor):
        layer.register_forward_hook(_in_float32)


def _in_float32(_layer: nn.Module, _inputs: tuple, outputs: tuple) -> tuple:
    return tuple([each.float() for each in part] if isinstance(part, list) else part.float() for part in outputs)


def detector_targets(masks: Tensor, category_id: Tensor) -> dict[str, Tensor]:
    """Return the targets of one image as torchvision's detectors expect them: boxes, labels and masks.

    Args:
        masks: uint8 `n h w`, 0 or 1, none of them empty.
        category_id: int64 `n`, from 1.
    """
    ys, xs = masks.any(dim=2), masks.any(dim=1)
    height, width = masks.shape[1:]
    top, left = ys.int().argmax(1), xs.int().argmax(1)
    bottom = height - ys.flip(1).int().argmax(1)
    right = width - xs.flip(1).int().argmax(1)
    boxes = torch.stack([left, top, right, bottom], dim=1).float()
    return {"boxes": boxes, "labels": category_id, "masks": masks}


@torch.no_grad()
def detect(
    detector: MaskRCNN,
    images: list[Tensor],
    *,
    min_score: float = 0.05,
    to_masks: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> list[dict[str, Any]]:
    """Find the instances of images.

    Args:
        detector: the model; it is switched to evaluation mode.
        images: RGB images, float `3 h w` in [0, 1], on the device of the model.
        min_score: instances with a lower score are left out.
        to_masks: turns the probabilities of an image's masks (float32 `n h w`) and the image into bool `n h w`, on the
            device of the image; None: a mask is where the probability is at least 0.5.

    Returns:
        For each image `masks` (bool `n h w`), `category_id` (int32 `n`) and `score` (float32 `n`), best first.
    """
    detector.eval()
    found = []
    for image, output in zip(images, detector(images), strict=True):
        sure = output["scores"] >= min_score
        probability = output["masks"][sure, 0].float()
        masks = to_masks(probability.to(image.device), image).cpu() if to_masks else probability >= 0.5
        columns = {"masks": masks, "category_id": output["labels"][sure].int(), "score": output["scores"][sure].float()}
        keep = masks.flatten(1).any(1)
        found.append({name: column[keep].numpy() for name, column in columns.items()})
    return found
