"""Checkpoints of the authors' release by the names of this pipeline's models.

The release has two models. Its classifier is VGG-16 at stride 8 (`features.<n>`, each tensor a second time as
`layer<i>_conv<j>`) with three added convolutions and a pointwise one (`extra_conv1` to `extra_conv4`). Its network
is HRNet by the names of HRNet's own code, with heads of two convolutions on the finest map (`seg`, `center`,
`offset`).
"""

import re
from collections.abc import Collection, Mapping

from jaxtyping import Shaped
from torch import Tensor

#: The network of the release says offsets in px of the input, that of this pipeline in px of its finest map.
FINEST_STRIDE_PX = 4

CLASSIFIER_NAMES = (
    (r"features\.(\d+)\.(.+)", r"backbone.model.features_\1.\2"),
    (r"extra_conv1\.(.+)", r"added.0.0.\1"),
    (r"extra_conv2\.(.+)", r"added.1.0.\1"),
    (r"extra_conv3\.(.+)", r"added.2.0.\1"),
    (r"extra_conv4\.(.+)", r"head.\1"),
)
CLASSIFIER_ALIASES = r"layer\d_conv\d\.(weight|bias)"
NETWORK_NAMES = (
    (r"((?:conv|bn|layer|transition|stage)\d\..+)", r"backbone.model.\1"),
    (r"seg\.(.+)", r"semantic_head.\1"),
    (r"center\.(.+)", r"center_head.\1"),
    (r"offset\.(.+)", r"offset_head.\1"),
)


def is_release_classifier(names: Collection[str]) -> bool:
    """Whether these are the tensors of the released classifier."""
    return "extra_conv1.weight" in names


def is_release_network(names: Collection[str]) -> bool:
    """Whether these are the tensors of the released network."""
    return "seg.0.weight" in names


def rename_release(tensors: Mapping[str, Shaped[Tensor, "..."]]) -> dict[str, Tensor]:
    """The tensors of a released checkpoint by the names that `Classifier` or `BestieNetwork` has for them.

    Names that belong to neither model stay as they are, for whoever compares them with a model; tensors that are
    not of the release come back unchanged.
    """
    if is_release_classifier(tensors):
        kept = {name: tensor for name, tensor in tensors.items() if not re.fullmatch(CLASSIFIER_ALIASES, name)}
        return {_rename(name, CLASSIFIER_NAMES): tensor for name, tensor in kept.items()}
    if is_release_network(tensors):
        renamed = {_rename(name, NETWORK_NAMES): tensor for name, tensor in tensors.items()}
        return {name: _in_own_units(name, tensor) for name, tensor in renamed.items()}
    return dict(tensors)


def _rename(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, replacement, name)
    return name


def _in_own_units(name: str, tensor: Tensor) -> Tensor:
    return tensor / FINEST_STRIDE_PX if name.startswith("offset_head.2.") else tensor
