"""Mask R-CNN, built from its parameters, with initial or with trained weights."""

from pathlib import Path

from torch import nn
from torchvision.models.detection import MaskRCNN

from bestie.artifacts.weights import load_weights, read_attributes
from bestie.errors import InputError
from bestie.method.backbones import FeatureExtractor, Normalization
from bestie.method.decoders import ARCHITECTURES
from bestie.method.detector import USUAL, Selection, build_detector, build_standard_detector
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
from bestie.training.weight_files import PREVIOUS, RANDOM

STANDARD = "maskrcnn_resnet50_fpn"


def create_detector(
    params: TrainMrcnn,
    *,
    num_classes: int,
    previous: Path,
    selection: Selection = USUAL,
) -> tuple[MaskRCNN, Origin]:
    """Return the detector with its initial weights, and their origin.

    Args:
        params: what it is built from.
        num_classes: C, without background.
        previous: the trained network.
        selection: what is kept when it is used.

    Raises:
        InputError: the anchor sizes do not fit the backbone, or the decoders not the network; see also
            `build_backbone`.
    """
    if params.architecture == STANDARD:
        first = first_weights(params.backbone, previous=previous)
        stored = None if first is None else first.normalization
        detector = _standard_detector(params, num_classes, wanted_normalization(params.backbone, stored), selection)
        if first is not None:
            load_backbone(detector.backbone.body, first, "resnet50")
        return detector, {"weights": RANDOM} if first is None else first.origin
    if params.decoder is not None:
        params = _with_decoders_of(params, previous)
    backbone, origin = build_backbone(params.backbone, previous=previous)
    detector = _detector(backbone, params, num_classes, selection)
    if params.decoder is not None:
        _load_decoders(detector.backbone.decoders, previous)
    return detector, origin


def load_detector(path: Path, selection: Selection = USUAL) -> MaskRCNN:
    """Return a trained detector that keeps what `selection` says. Raises InputError like `load_model`."""

    def build(params: TrainMrcnn, num_classes: int) -> MaskRCNN:
        if params.architecture == STANDARD:
            return _standard_detector(params, num_classes, wanted_normalization(params.backbone), selection)
        return _detector(bare_backbone(params.backbone), params, num_classes, selection)

    return load_model(path, TrainMrcnn, build)


def _with_decoders_of(params: TrainMrcnn, network: Path) -> TrainMrcnn:
    """Return the parameters with the kind and the width of a trained network's decoders.

    Raises:
        InputError: they ask for others, the detector starts from another backbone than that of the network, or it
            trains the backbone further, which changes what the decoders see.
    """
    if params.backbone.weights != PREVIOUS:
        raise InputError(
            f"train_mrcnn.decoder: the network's decoders need its backbone, but train_mrcnn.backbone.weights is "
            f"{params.backbone.weights}; make it previous, or decoder null"
        )
    if params.backbone.trainable:
        raise InputError(
            "train_mrcnn.decoder: the network's decoders know the backbone as it is, but "
            "train_mrcnn.backbone.trainable is true; make it false, or decoder null"
        )
    trained = read_attributes(network).get("params", {})
    found = {"decoder": trained.get("decoder"), "decoder_width": trained.get("width")}
    for key, value in found.items():
        if getattr(params, key) not in (PREVIOUS, None, value):
            raise InputError(
                f"train_mrcnn.{key} is {getattr(params, key)}, but that of {network} is {value}; make them equal"
            )
    return params.model_copy(update=found)


def _load_decoders(decoders: nn.ModuleList, network: Path) -> None:
    weights, _ = load_weights(network)
    for decoder, name in zip(decoders, ("semantic_decoder.", "instance_decoder."), strict=True):
        decoder.load_state_dict({k.removeprefix(name): each for k, each in weights.items() if k.startswith(name)})


def _standard_detector(
    params: TrainMrcnn, num_classes: int, normalization: Normalization, selection: Selection
) -> MaskRCNN:
    return build_standard_detector(
        num_classes=num_classes,
        pretrained=params.backbone.weights != RANDOM,
        min_side_px=params.min_side_px,
        max_side_px=params.max_side_px,
        normalization=normalization,
        selection=selection,
    )


def _detector(backbone: FeatureExtractor, params: TrainMrcnn, num_classes: int, selection: Selection) -> MaskRCNN:
    decoders = None
    if params.decoder is not None and params.decoder_width is not None:
        decoders = ARCHITECTURES[params.decoder](backbone, params.decoder_width)
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
        smaller_sides_px=params.smaller_sides_px,
        decoders=decoders,
        selection=selection,
    )
