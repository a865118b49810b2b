"""The classifier, built from its parameters, with initial or with trained weights."""

from pathlib import Path

from bestie.method.backbones import FeatureExtractor
from bestie.method.pam import Classifier
from bestie.params.train_pam import TrainPam
from bestie.training.initial import Origin, bare_backbone, build_backbone
from bestie.training.saved_models import load_model, take_over


def create_classifier(params: TrainPam, *, num_classes: int) -> tuple[Classifier, Origin]:
    """Return the classifier and the origin of its weights: initial ones, or those that `params.trained` names.

    Raises:
        InputError: see `build_backbone` and `take_over`.
    """
    if params.trained is not None:
        classifier = _classifier(bare_backbone(params.backbone), params, num_classes)
        return take_over(classifier, params.trained, params.backbone)
    backbone, origin = build_backbone(params.backbone)
    return _classifier(backbone, params, num_classes), origin


def load_classifier(path: Path) -> Classifier:
    """Return a trained classifier. Raises InputError like `load_model`."""
    return load_model(
        path, TrainPam, lambda params, classes: _classifier(bare_backbone(params.backbone), params, classes)
    )


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
