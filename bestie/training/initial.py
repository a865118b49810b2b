"""Initial weights of a backbone: downloaded, from an installed package, a local file, or the previous stage."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from torch import nn

from bestie.artifacts.weights import StateDict, load_any_weights, load_weights, match_weights, weights_sha256
from bestie.errors import InputError
from bestie.method.backbones import IMAGENET, FeatureExtractor, Normalization, create_backbone, normalization_of
from bestie.params.reading import parse
from bestie.params.training import Backbone
from bestie.training.weight_files import (
    DOWNLOAD,
    PACKAGE,
    PREVIOUS,
    RANDOM,
    download_weights,
    find_package,
    find_weights,
)

#: Parts of a classifier that a feature extractor does without, by the names that other tools give them.
HEADS = (
    "fc.*",
    "classifier.*",
    "head.*",
    "pre_logits.*",
    "conv_head.*",
    "bn2.*",
    "norm_head.*",
    "incre_modules.*",
    "downsamp_modules.*",
    "final_layer.*",
)
#: Counters of the batches seen in training; files of other tools leave them out.
COUNTERS = ("*num_batches_tracked",)

#: Prefix of the names of a backbone's tensors in a model of this pipeline.
BACKBONE = "backbone.model."

Origin = dict[str, Any]


class FirstWeights(NamedTuple):
    """Initial weights of a backbone.

    Attributes:
        tensors: named as in the complete model.
        origin: for the artifact's attributes.
        path: where they were read, for messages.
        normalization: how the images were normalized that they were trained on, if the file says so.
    """

    tensors: StateDict
    origin: Origin
    path: Path
    normalization: Normalization | None = None


def build_backbone(params: Backbone, *, previous: Path | None = None) -> tuple[FeatureExtractor, Origin]:
    """Return a backbone with its initial weights, and their origin for the artifact's attributes.

    Args:
        params: name, weights and stride of the backbone.
        previous: weights of the previous stage, for `weights: previous`.

    Raises:
        InputError: the backbone is unknown; see also `first_weights` and `load_backbone`.
    """
    backbone = bare_backbone(params)
    first = first_weights(params, previous=previous)
    if first is not None:
        load_backbone(backbone.model, first, params.name)
        backbone.normalize_by(wanted_normalization(params, first.normalization))
    origin = {"weights": RANDOM} if first is None else first.origin
    if not params.trainable:
        backbone.freeze()
    elif params.frozen_stages:
        backbone.freeze(params.frozen_stages)
    return backbone, origin


def bare_backbone(params: Backbone) -> FeatureExtractor:
    """Return the backbone with random weights."""
    backbone = create_backbone(
        params.name, output_stride=params.output_stride, stages=params.stages, width_factor=params.width_factor
    )
    backbone.normalize_by(wanted_normalization(params))
    return backbone


def wanted_normalization(params: Backbone, stored: Normalization | None = None) -> Normalization:
    """Return how a backbone normalizes images: as the parameters say, or its weights, or `timm` for its name.

    Args:
        params: the backbone; each of `mean` and `std` may be given.
        stored: that of the weights, if they say (`stored_normalization`).
    """
    usual = stored or normalization_of(params.name)
    return Normalization(params.mean or usual.mean, params.std or usual.std)


def first_weights(params: Backbone, *, previous: Path | None = None) -> FirstWeights | None:
    """Return the weights that `backbone.weights` asks for; None for random ones.

    Raises:
        InputError: the file is missing, cannot be fetched, or does not have the hash `backbone.sha256`; or there is no
            previous stage.
    """
    if params.weights == RANDOM:
        return None
    if params.weights == PREVIOUS:
        if previous is None:
            raise InputError("weights: previous, but this is the first stage that trains; name a file or random")
        tensors, attributes = load_weights(previous)
        stored = stored_normalization(attributes, source=previous)
        return FirstWeights(_of_backbone(tensors), {"weights": PREVIOUS}, previous, stored)
    if params.weights == DOWNLOAD:
        source, path = download_weights(params.name)
        first = read_weight_file(path, params.sha256)
        return first._replace(origin={**first.origin, "weights": DOWNLOAD, "source": source})
    if params.weights == PACKAGE:
        source, path = find_package(params.name)
        first = read_weight_file(path, params.sha256)
        named = name_in_order(first.tensors, params.name, source=source)
        return first._replace(tensors=named, origin={**first.origin, "weights": PACKAGE, "source": source})
    return read_weight_file(find_weights(params.weights), params.sha256)


def read_weight_file(path: Path, sha256: str | None = None) -> FirstWeights:
    """Return the tensors of a file with its name and hash.

    Raises:
        InputError: the file does not have the hash `sha256`; see also `load_any_weights`.
    """
    found = weights_sha256(path)
    if sha256 is not None and found != sha256:
        raise InputError(
            f"{path} has SHA-256 {found}, but the parameters ask for {sha256}; "
            "restore the file or correct backbone.sha256"
        )
    tensors, attributes = load_any_weights(path)
    stored = stored_normalization(attributes, source=path)
    return FirstWeights(_of_backbone(tensors), {"weights": path.name, "sha256": found}, path, stored)


def name_in_order(tensors: StateDict, name: str, *, source: str) -> StateDict:
    """Return tensors by the names that `timm` has for them, if both have the same shapes in the same order.

    Raises:
        InputError: they have not.
    """
    whole = whole_model(name).state_dict()
    if [each.shape for each in tensors.values()] != [each.shape for each in whole.values()]:
        raise InputError(f"{source} does not hold the tensors of {name} in their order; name a file instead")
    return dict(zip(whole, tensors.values(), strict=True))


def stored_normalization(attributes: Mapping[str, Any], *, source: Path) -> Normalization | None:
    """Return how a saved model of this pipeline normalizes images; None for weights of other tools.

    A model that was saved without these values normalizes by those of ImageNet.

    Raises:
        InputError: the values are malformed.
    """
    params = attributes.get("params")
    backbone = params.get("backbone") if isinstance(params, Mapping) else None
    if not isinstance(backbone, Mapping):
        return None
    values = {key: backbone.get(key) for key in Normalization._fields}
    found = parse(Backbone, values, source=f"{source}: its parameters")
    return Normalization(found.mean or IMAGENET.mean, found.std or IMAGENET.std)


def load_backbone(model: nn.Module, first: FirstWeights, name: str) -> None:
    """Load weights into a feature extractor of `timm`; every tensor of it has to be among them.

    Args:
        model: the feature extractor.
        first: the weights, named as in the complete model.
        name: the name of the complete model that the extractor was made from.

    Raises:
        InputError: a tensor is missing, has another shape, or does not belong to the model.
    """
    state = model.state_dict()
    own_name = {_full_name(key): key for key in state}
    tensors = {own_name.get(key, key): value for key, value in first.tensors.items()}
    left_out = (*HEADS, *_left_out(name, own_name)) if tensors.keys() - state.keys() else ()
    matched = match_weights(state, tensors, source=first.path, allow_missing=COUNTERS, allow_unused=left_out)
    model.load_state_dict({**state, **matched})


def _full_name(key: str) -> str:
    """Return the name in the complete model: in an extractor, the first dot of VGG's nested layers is an underscore."""
    return key.replace("features_", "features.", 1) if key.startswith("features_") else key


def _left_out(name: str, kept: dict[str, str]) -> list[str]:
    """Return the names of the complete model's tensors that its extractor does without."""
    return [key for key in whole_model(name).state_dict() if key not in kept]


def whole_model(name: str) -> nn.Module:
    """Return a complete model of `timm`, classifier included, whose tensors have shapes but no values."""
    with torch.device("meta"):
        return timm.create_model(name.partition(".")[0])


def _of_backbone(tensors: StateDict) -> StateDict:
    """Return the backbone's tensors of a model of this pipeline, by their names in the backbone; others as they are."""
    own = {key: value for key, value in tensors.items() if key.startswith(BACKBONE)}
    return {_full_name(key.removeprefix(BACKBONE)): value for key, value in (own or tensors).items()}
