"""Trained models as artifacts: the weights are stored with the parameters that the model is built from."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from bestie.artifacts.weights import (
    load_any_weights,
    load_weights,
    match_weights,
    read_attributes,
    save_weights,
    weights_sha256,
)
from bestie.errors import InputError
from bestie.method.backbones import FeatureExtractor
from bestie.method.release import rename_release
from bestie.params.reading import parse
from bestie.params.training import Backbone, Training
from bestie.records import VOID, Category
from bestie.training.initial import COUNTERS, Origin, stored_normalization, wanted_normalization
from bestie.training.weight_files import find_weights

M = TypeVar("M", bound=nn.Module)
T = TypeVar("T", bound=Training)


def save_model(
    path: Path,
    module: nn.Module,
    params: Training,
    *,
    num_classes: int,
    origin: Origin,
    categories: Sequence[Category] = (),
    **facts: Any,
) -> None:
    """Write a trained model with everything that `load_classifier`, `load_network` or `load_detector` needs.

    Args:
        path: the `*.zarr` folder to write.
        module: the model.
        params: the parameters that it was built and trained with.
        num_classes: C, without background.
        origin: where its initial weights came from.
        categories: the classes, so that the model can be used without its data set.
        facts: further JSON values to store.
    """
    attributes = {"params": _built_from(module, params), "num_classes": num_classes, "origin": origin, **facts}
    if categories:
        attributes["categories"] = [{"name": each.name, "source_id": each.source_id} for each in categories]
    save_weights(path, module.state_dict(), attributes)


def stored_categories(path: Path) -> list[Category]:
    """Return the classes that a saved model was trained on; nothing if its file does not say.

    Raises InputError like `read_attributes`, and if they are malformed.
    """
    attributes = read_attributes(path)
    found = attributes.get("categories", [])
    try:
        named = [Category(k, str(e["name"]), int(e["source_id"])) for k, e in enumerate(found, start=1)]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} has malformed categories ({error!r}). Take another file.") from error
    if named and len(named) != attributes.get("num_classes"):
        raise InputError(
            f"{path} names {len(named)} classes, but has {attributes.get('num_classes')}. Take another file."
        )
    return named


def stored_shown_score(path: Path) -> float | None:
    """Return from which score on the instances of a saved model are worth showing; None if its file does not say.

    Raises InputError like `read_attributes`, and if it is no number.
    """
    found = read_attributes(path).get("shown_score")
    if found is not None and type(found) not in (int, float):
        raise InputError(f"{path} has {found!r} as its shown_score, which is no number. Take another file.")
    return found


def take_over(module: M, name: str, backbone: Backbone) -> tuple[M, Origin]:
    """Load the weights of a finished model: a checkpoint of the authors' release, or weights of this pipeline.

    Args:
        module: the model, built from the parameters.
        name: a file or folder of weights, found by `find_weights`.
        backbone: the parameters of its backbone, which may say how images are normalized.

    Returns:
        The model in evaluation mode, and the origin of its weights.

    Raises:
        InputError: the file is missing or unreadable, or it lacks a tensor of the model, has one of another shape, or
            has one that the model lacks.
    """
    path = find_weights(name)
    tensors, attributes = load_any_weights(path)
    state = module.state_dict()
    matched = match_weights(state, rename_release(tensors), source=path, allow_missing=COUNTERS)
    module.load_state_dict({**state, **matched})
    for each in module.modules():
        if isinstance(each, FeatureExtractor):
            each.normalize_by(wanted_normalization(backbone, stored_normalization(attributes, source=path)))
    return module.eval(), {"weights": path.name, "sha256": weights_sha256(path), "trained": True}


def load_model(path: Path, section: type[T], build: Callable[[T, int], M]) -> M:
    """Return a trained model in evaluation mode, built from the parameters in its own file.

    The model is built only after its shapes were compared with the weights, so wrong parameters allocate no memory.

    Args:
        path: the `*.zarr` folder.
        section: the type of the model's parameters.
        build: (parameters, number of classes) -> the model.

    Raises:
        InputError: the parameters are wrong or those of another model; see also `load_weights`.
    """
    weights, attributes = load_weights(path)
    values: Any = attributes.get("params")
    if stored := stored_normalization(attributes, source=path):
        values = {**values, "backbone": {**values["backbone"], **stored._asdict()}}
    params = parse(section, values, source=f"{path}: its parameters")
    num_classes = attributes.get("num_classes")
    if type(num_classes) is not int or not 0 < num_classes < VOID:
        raise InputError(f"{path} is of a model of {num_classes!r} classes. Train it again or take another file.")
    if _shapes(partial(build, params, num_classes)) != {name: weights[name].shape for name in weights}:
        raise InputError(f"{path}: its weights do not fit its own parameters. Train it again or take another file.")
    module = build(params, num_classes)
    module.load_state_dict(weights)
    return module.eval()


def _built_from(module: nn.Module, params: Training) -> dict[str, Any]:
    """Return the parameters with the normalization that the model has, wherever it comes from."""
    values = params.model_dump(mode="json")
    each: Any
    for each in module.modules():
        if isinstance(each, FeatureExtractor):
            values["backbone"].update(mean=list(each.normalization.mean), std=list(each.normalization.std))
        elif hasattr(each, "built_from"):  # the pyramid of a detector, which is slow to import
            values.update(each.built_from)
        elif hasattr(each, "image_mean"):  # the transform of a torchvision detector, which is slow to import
            values["backbone"].update(mean=list(each.image_mean), std=list(each.image_std))
    return values


def _shapes(build: Callable[[], nn.Module]) -> dict[str, torch.Size] | None:
    """Return the shapes of a model's tensors without allocating them; None if the model cannot be built."""
    try:
        with torch.device("meta"):
            return {name: tensor.shape for name, tensor in build().state_dict().items()}
    except (RuntimeError, ValueError, TypeError, OverflowError, MemoryError):
        return None
