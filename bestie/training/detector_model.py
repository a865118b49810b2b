"""Mask R-CNN, built from its parameters, with initial or with trained weights."""

from pathlib import Path

from torchvision.models.detection import MaskRCNN

from bestie.errors import InputError
from bestie.method.backbones import FeatureExtractor, Normalization
from bestie.method.detector import build_detector, build_standard_detector
from bestie.params.train_mrcnn import TrainMrcnn
from bestie.training.initial import (
    Origin,
    bare_backbone,
    build_backbone,
    first_weights,
    load_backbone,
    wanted_normalization,
)
from bestie.training.saved_models import load_model
from bestie.training.weight_files import RANDOM

STANDARD = "maskrcnn_resnet50_fpn"


def create_detector(params: TrainMrcnn, *, num_classes: int, previous: Path) -> tuple[MaskRCNN, Origin]:
    """Return the detector with its initial weights, and their origin.

    Raises:
        InputError: the anchor sizes do not fit the backbone; see also `build_backbone`.
    """
    if params.architecture == STANDARD:
        first = first_weights(params.backbone, previous=previous)
        stored = None if first is None else first.normalization
        detector = _standard_detector(params, num_classes, wanted_normalization(params.backbone, stored))
        if first is not None:
            load_backbone(detector.backbone.body, first, "resnet50")
        return detector, {"weights": RANDOM} if first is None else first.origin
    backbone, origin = build_backbone(params.backbone, previous=previous)
    return _detector(backbone, params, num_classes), origin


def load_detector(path: Path) -> MaskRCNN:
    """Return a trained detector. Raises InputError like `load_model`."""

    def build(params: TrainMrcnn, num_classes: int) -> MaskRCNN:
        if params.architecture == STANDARD:
            return _standard_detector(params, num_classes, wanted_normalization(params.backbone))
        return _detector(bare_backbone(params.backbone), params, num_classes)

    return load_model(path, TrainMrcnn, build)


def _standard_detector(params: TrainMrcnn, num_classes: int, normalization: Normalization) -> MaskRCNN:
    return build_standard_detector(
        num_classes=num_classes,
        pretrained=params.backbone.weights != RANDOM,
        min_side_px=params.min_side_px,
        max_side_px=params.max_side_px,
        normalization=normalization,
    )


def _detector(backbone: FeatureExtractor, params: TrainMrcnn, num_classes: int) -> MaskRCNN:
    if len(params.anchor_sizes_px) != len(backbone.strides):
        raise InputError(
            f"train_mrcnn.anchor_sizes_px has {len(params.anchor_sizes_px)} sizes, but {params.backbone.name} gives "
            f"{len(backbone.strides)} feature maps, of strides {backbone.strides}; correct the value"
        )
    return build_detector(
        backbone,
        num_classes=num_classes,
        width=params.width,
        min_side_px=params.min_side_px,
        max_side_px=params.max_side_px,
        anchor_sizes_px=params.anchor_sizes_px,
        proposals=params.proposals,
        box_batch=params.box_batch,
    )
