"""The network for own semantic maps, built from its parameters, with initial or with trained weights."""

from pathlib import Path

from bestie.artifacts.weights import read_attributes
from bestie.method.backbones import FeatureExtractor
from bestie.method.semantic_network import SemanticNetwork
from bestie.params.reading import parse
from bestie.params.train_wsss import TrainWsss
from bestie.training.initial import Origin, bare_backbone, build_backbone
from bestie.training.saved_models import load_model


def create_semantic_network(params: TrainWsss, *, num_classes: int, previous: Path) -> tuple[SemanticNetwork, Origin]:
    """Return the network with its initial weights, and their origin. Raises InputError like `build_backbone`."""
    backbone, origin = build_backbone(params.backbone, previous=previous)
    return _network(backbone, params, num_classes), origin


def load_semantic_network(path: Path) -> tuple[SemanticNetwork, TrainWsss]:
    """Return a trained network, and the parameters it was trained with. Raises InputError like `load_model`."""
    network = load_model(
        path, TrainWsss, lambda params, classes: _network(bare_backbone(params.backbone), params, classes)
    )
    return network, parse(TrainWsss, read_attributes(path)["params"], source=f"{path}: its parameters")


def _network(backbone: FeatureExtractor, params: TrainWsss, num_classes: int) -> SemanticNetwork:
    return SemanticNetwork(
        backbone,
        num_classes=num_classes,
        scales=params.scales,
        width=params.width,
        with_boundary=params.boundary_epochs > 0,
    )
