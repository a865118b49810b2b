"""Checkpoints of the authors' release, renamed for the models of this package.

The release has two models. Its classifier (Figure 10) is VGG-16 at stride 8 (`features.<n>`, with each tensor a second
time as `layer<i>_conv<j>`), followed by three added convolutions and a pointwise one (`extra_conv1` to `extra_conv4`).
Its network (Section 4.2) is HRNet with the names of HRNet's own code, and heads of two convolutions on the finest map
(`seg`, `center`, `offset`).
"""

import re
from collections.abc import Collection, Mapping

from jaxtyping import Shaped
from torch import Tensor

#: The offset head of the release works in px of the input, that of this package in px of the finest map.
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
    """Return whether these are the names of the released classifier's tensors."""
    return "extra_conv1.weight" in names


def is_release_network(names: Collection[str]) -> bool:
    """Return whether these are the names of the released network's tensors."""
    return "seg.0.weight" in names


def rename_release(tensors: Mapping[str, Shaped[Tensor, "..."]]) -> dict[str, Tensor]:
    """Rename the tensors of a released checkpoint as `Classifier` or `BestieNetwork` names them.

    Names that belong to neither model are kept, so that a comparison with a model finds them. Tensors that are not
    from the release are returned unchanged.
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
