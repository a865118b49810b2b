"""Models from parameters, with first weights or with trained ones.

A trained model is one artifact: its weights carry the parameters that it is built from.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torchvision.models.detection import MaskRCNN

from bestie.artifacts.weights import load_any_weights, load_weights, match_weights, save_weights, weights_sha256
from bestie.backbones import FeatureExtractor
from bestie.classifier import Classifier
from bestie.datasets.base import VOID
from bestie.detector import build_detector, build_standard_detector
from bestie.errors import InputError
from bestie.network import BestieNetwork
from bestie.params import TrainBestie, Training, TrainMrcnn, TrainPam
from bestie.params_file import parse
from bestie.release import rename_release
from bestie.training.initial import COUNTERS, Origin, bare_backbone, build_backbone, first_weights, load_backbone
from bestie.training.weight_files import RANDOM, find_weights

STANDARD = "maskrcnn_resnet50_fpn"
M = TypeVar("M", bound=nn.Module)
T = TypeVar("T", bound=Training)


def save_model(
    path: Path, module: nn.Module, params: Training, *, num_classes: int, origin: Origin, **facts: Any
) -> None:
    """Write a trained model with all that `load_classifier`, `load_network` or `load_detector` need.

    Args:
        path: the `*.zarr` folder to write.
        module: the model.
        params: what it was built and trained with.
        num_classes: C, without background.
        origin: where its first weights came from.
        facts: further JSON values to keep.
    """
    attributes = {"params": params.model_dump(mode="json"), "num_classes": num_classes, "origin": origin, **facts}
    save_weights(path, module.state_dict(), attributes)


def create_classifier(params: TrainPam, *, num_classes: int) -> tuple[Classifier, Origin]:
    """The classifier with its first weights or, with `trained`, its last ones, and where those came from.

    InputError as `build_backbone` and `take_over`.
    """
    if params.trained is not None:
        return take_over(_classifier(bare_backbone(params.backbone), params, num_classes), params.trained)
    backbone, origin = build_backbone(params.backbone)
    return _classifier(backbone, params, num_classes), origin


def load_classifier(path: Path) -> Classifier:
    """A trained classifier. InputError as `_load`."""
    return _load(path, TrainPam, lambda params, classes: _classifier(bare_backbone(params.backbone), params, classes))


def create_network(params: TrainBestie, *, num_classes: int, previous: Path) -> tuple[BestieNetwork, Origin]:
    """The network with its first weights or, with `trained`, its last ones, and where those came from.

    InputError as `build_backbone` and `take_over`.
    """
    if params.trained is not None:
        return take_over(_network(bare_backbone(params.backbone), params, num_classes), params.trained)
    backbone, origin = build_backbone(params.backbone, previous=previous)
    return _network(backbone, params, num_classes), origin


def load_network(path: Path) -> BestieNetwork:
    """A trained network. InputError as `_load`."""
    return _load(path, TrainBestie, lambda params, classes: _network(bare_backbone(params.backbone), params, classes))


def create_detector(params: TrainMrcnn, *, num_classes: int, previous: Path) -> tuple[MaskRCNN, Origin]:
    """The detector with its first weights, and where those came from.

    Raises:
        InputError: as `build_backbone`, or the anchor sizes do not fit the backbone.
    """
    if params.architecture == STANDARD:
        detector = _standard_detector(params, num_classes)
        first = first_weights(params.backbone, previous=previous)
        if first is not None:
            load_backbone(detector.backbone.body, first, "resnet50")
        return detector, {"weights": RANDOM} if first is None else first.origin
    backbone, origin = build_backbone(params.backbone, previous=previous)
    return _detector(backbone, params, num_classes), origin


def load_detector(path: Path) -> MaskRCNN:
    """A trained detector. InputError as `_load`."""

    def build(params: TrainMrcnn, num_classes: int) -> MaskRCNN:
        if params.architecture == STANDARD:
            return _standard_detector(params, num_classes)
        return _detector(bare_backbone(params.backbone), params, num_classes)

    return _load(path, TrainMrcnn, build)


def take_over(module: M, name: str) -> tuple[M, Origin]:
    """Load a finished model: a checkpoint of the authors' release, or weights of this pipeline.

    Args:
        module: the model, built from the parameters.
        name: a file or folder of weights, looked for as `find_weights` does.

    Raises:
        InputError: the file is missing or unreadable, or lacks, adds or misshapes a tensor of the model.
    """
    path = find_weights(name)
    tensors, _ = load_any_weights(path)
    state = module.state_dict()
    matched = match_weights(state, rename_release(tensors), source=path, allow_missing=COUNTERS)
    module.load_state_dict({**state, **matched})
    return module.eval(), {"weights": path.name, "sha256": weights_sha256(path), "trained": True}


def _classifier(backbone: FeatureExtractor, params: TrainPam, num_classes: int) -> Classifier:
    return Classifier(
        backbone,
        num_classes=num_classes,
        width=params.width,
        alpha=params.alpha,
        attention_layers=params.attention_layers,
        normalized=not params.backbone.name.startswith("vgg"),
        pointwise_start=params.pointwise_start,
    )


def _network(backbone: FeatureExtractor, params: TrainBestie, num_classes: int) -> BestieNetwork:
    return BestieNetwork(
        backbone,
        num_classes=num_classes,
        decoder=params.decoder,
        width=params.width,
        class_wise=params.class_wise,
    )


def _standard_detector(params: TrainMrcnn, num_classes: int) -> MaskRCNN:
    return build_standard_detector(
        num_classes=num_classes,
        pretrained=params.backbone.weights != RANDOM,
        min_side_px=params.min_side_px,
        max_side_px=params.max_side_px,
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


def _load(path: Path, section: type[T], build: Callable[[T, int], M]) -> M:
    """A trained model, built from the parameters in its own file.

    Nothing is built that the weights in the file do not fill: what else the parameters ask for costs no memory.

    Raises:
        InputError: as `load_weights`, or the parameters are wrong or those of another model.
    """
    weights, attributes = load_weights(path)
    params = parse(section, attributes.get("params"), source=f"{path}: its parameters")
    num_classes = attributes.get("num_classes")
    if type(num_classes) is not int or not 0 < num_classes < VOID:
        raise InputError(f"{path} is of a model of {num_classes!r} classes. Train it again or take another file.")
    if _shapes(partial(build, params, num_classes)) != {name: weights[name].shape for name in weights}:
        raise InputError(f"{path}: its weights do not fit its own parameters. Train it again or take another file.")
    module = build(params, num_classes)
    module.load_state_dict(weights)
    return module.eval()


def _shapes(build: Callable[[], nn.Module]) -> dict[str, torch.Size] | None:
    """The shapes of a model's tensors, which get no memory; None where no such model can be."""
    try:
        with torch.device("meta"):
            return {name: tensor.shape for name, tensor in build().state_dict().items()}
    except (RuntimeError, ValueError, TypeError, OverflowError, MemoryError):
        return None
