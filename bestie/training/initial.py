"""First weights of a backbone: the library's download, a local file, or the stage before."""

import os
from pathlib import Path
from typing import Any

from torch import nn

from bestie.artifacts.weights import load_any_weights, load_weights, match_weights
from bestie.backbones import FeatureExtractor, create_backbone
from bestie.datasets.base import hash_file
from bestie.errors import InputError
from bestie.params import Backbone

#: Parts of classifiers that feature extractors leave out.
HEADS = ("fc.*", "classifier.*", "head.*", "conv_head.*", "bn2.*", "norm_head.*", "incre_modules.*")


def build_backbone(params: Backbone, *, previous: Path | None = None) -> tuple[FeatureExtractor, dict[str, Any]]:
    """A backbone with its first weights, and where these came from, for the artifact's attributes.

    Args:
        params: name, weights and stride.
        previous: weights of the stage before, for `weights: previous`.

    Raises:
        InputError: unknown backbone; a weight file that is missing, has another hash than `sha256`, or
            lacks a tensor of the backbone.
    """
    backbone = bare_backbone(params, pretrained=params.weights == "download")
    origin = {"weights": params.weights}
    if params.weights == "previous":
        if previous is None:
            raise InputError("weights: previous, but this is the first stage that trains; name a file or random")
        _load_previous(backbone, previous)
    elif params.weights not in ("random", "download"):
        origin = _load_file(backbone, params)
    if not params.trainable:
        backbone.freeze()
    elif params.frozen_stages:
        backbone.freeze(params.frozen_stages)
    return backbone, origin


def _load_file(backbone: FeatureExtractor, params: Backbone) -> dict[str, Any]:
    path = find_weights(params.weights)
    found = hash_file(path) if path.is_file() else ""
    if params.sha256 is not None and found != params.sha256:
        raise InputError(
            f"{path} has SHA-256 {found}, but the parameters ask for {params.sha256}; "
            "restore the file or correct backbone.sha256"
        )
    weights, _ = load_any_weights(path)
    _load(backbone.model, weights, path)
    return {"weights": path.name, "sha256": found}


def bare_backbone(params: Backbone, *, pretrained: bool = False) -> FeatureExtractor:
    """The backbone with random weights, or those that `timm` downloads."""
    return create_backbone(params.name, output_stride=params.output_stride, stages=params.stages, pretrained=pretrained)


def find_weights(name: str) -> Path:
    """The file at path `name`, or the one of that file name in the folder BESTIE_WEIGHTS.

    Raises:
        InputError: there is neither.
    """
    path = Path(name)
    folder = os.environ.get("BESTIE_WEIGHTS")
    if folder and (Path(folder) / path.name).exists():
        return Path(folder) / path.name
    if not path.exists():
        raise InputError(
            f"weight file {path} does not exist; put it there, or set BESTIE_WEIGHTS to the folder that has it"
        )
    return path


def _load_previous(backbone: FeatureExtractor, path: Path) -> None:
    weights, _ = load_weights(path)
    own = {name: value for name, value in weights.items() if name.startswith("backbone.model.")}
    renamed = {name.removeprefix("backbone.model."): value for name, value in own.items()}
    _load(backbone.model, renamed, path)


def _load(model: nn.Module, weights: dict[str, Any], source: Path) -> None:
    state = model.state_dict()
    # Counters of batches seen; files of other tools leave them out.
    allow_missing = ("*num_batches_tracked",)
    matched = match_weights(state, weights, source=source, allow_missing=allow_missing, allow_unused=HEADS)
    model.load_state_dict({**state, **matched})
