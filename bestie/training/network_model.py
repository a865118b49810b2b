"""The network, built from its parameters, with initial or with trained weights."""

from pathlib import Path

from bestie.method.backbones import FeatureExtractor
from bestie.method.network import BestieNetwork
from bestie.params.train_bestie import TrainBestie
from bestie.training.initial import Origin, bare_backbone, build_backbone
from bestie.training.saved_models import load_model, take_over


def create_network(params: TrainBestie, *, num_classes: int, previous: Path) -> tuple[BestieNetwork, Origin]:
    """Return the network and the origin of its weights: initial ones, or those that `params.trained` names.

    Raises:
        InputError: see `build_backbone` and `take_over`.
    """
    if params.trained is not None:
        return take_over(_network(bare_backbone(params.backbone), params, num_classes), params.trained, params.backbone)
    backbone, origin = build_backbone(params.backbone, previous=previous)
    return _network(backbone, params, num_classes), origin


def load_network(path: Path) -> BestieNetwork:
    """Return a trained network. Raises InputError like `load_model`."""
    return load_model(
        path, TrainBestie, lambda params, classes: _network(bare_backbone(params.backbone), params, classes)
    )


def _network(backbone: FeatureExtractor, params: TrainBestie, num_classes: int) -> BestieNetwork:
    return BestieNetwork(
        backbone,
        num_classes=num_classes,
        decoder=params.decoder,
        width=params.width,
        class_wise=params.class_wise,
    )
