"""Initial weights of a backbone: downloaded by its library, from a local file, or from the previous stage."""

from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from torch import nn

from bestie.artifacts.weights import StateDict, load_any_weights, load_weights, match_weights, weights_sha256
from bestie.errors import InputError
from bestie.method.backbones import FeatureExtractor, create_backbone
from bestie.params.training import Backbone
from bestie.training.weight_files import DOWNLOAD, PREVIOUS, RANDOM, download_weights, find_weights

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
    """Tensors, named as in the complete model; their origin, for the artifact's attributes; and their path."""

    tensors: StateDict
    origin: Origin
    path: Path


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
    origin = {"weights": RANDOM} if first is None else first.origin
    if not params.trainable:
        backbone.freeze()
    elif params.frozen_stages:
        backbone.freeze(params.frozen_stages)
    return backbone, origin


def bare_backbone(params: Backbone) -> FeatureExtractor:
    """Return the backbone with random weights."""
    return create_backbone(
        params.name, output_stride=params.output_stride, stages=params.stages, width_factor=params.width_factor
    )


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
        return FirstWeights(_of_backbone(load_weights(previous)[0]), {"weights": PREVIOUS}, previous)
    if params.weights == DOWNLOAD:
        source, path = download_weights(params.name)
        first = read_weight_file(path, params.sha256)
        return first._replace(origin={**first.origin, "weights": DOWNLOAD, "source": source})
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
    tensors, _ = load_any_weights(path)
    return FirstWeights(_of_backbone(tensors), {"weights": path.name, "sha256": found}, path)


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
    with torch.device("meta"):
        whole = timm.create_model(name.partition(".")[0])
    return [key for key in whole.state_dict() if key not in kept]


def _of_backbone(tensors: StateDict) -> StateDict:
    """Return the backbone's tensors of a model of this pipeline, by their names in the backbone; others as they are."""
    own = {key: value for key, value in tensors.items() if key.startswith(BACKBONE)}
    return {_full_name(key.removeprefix(BACKBONE)): value for key, value in (own or tensors).items()}
