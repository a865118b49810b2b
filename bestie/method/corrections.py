"""Labels that people corrected, in the place of the automatic ones, also after these were made anew. Ours.

A correction keeps the automatic label that a person saw, so that the label that takes its place later is found by its
overlap with that one, or with what the person made of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from bestie.method.label_merging import MAX_COVERED, MergedLabels
from bestie.metrics.masks import mask_iou

#: Two masks are of the same object from this IoU on.
SAME_OBJECT = 0.5


@dataclass(frozen=True)
class Correction:
    """What a person made of one label of an image.

    `mask` and `category_id` are those of the corrected label; None and 0 if it was removed. `base` is the mask of the
    automatic label that it replaces; None if there was none. `by` says who corrected it.
    """

    category_id: int
    mask: Bool[np.ndarray, "h w"] | None
    base: Bool[np.ndarray, "h w"] | None
    by: str


def correct(
    labels: MergedLabels, by: Sequence[str], corrections: Sequence[Correction]
) -> tuple[MergedLabels, list[str]]:
    """Put corrected labels in the place of the automatic ones that they are about.

    A label goes if its IoU with the base of a correction, or with its mask, is at least `SAME_OBJECT`. Corrected masks
    then lie on top, smaller ones above larger ones; a label of which they leave less than half goes, too.

    Args:
        labels: the labels of one image.
        by: who corrected each of them before; "" for an automatic label.
        corrections: those of one person, at one time.

    Returns:
        The labels, corrected ones last, with a score of 1 and their centroids as centers; and who corrected each.
    """
    if not corrections:
        return labels, list(by)
    old = [labels.instance == number for number in range(1, len(labels.category_id) + 1)]
    about = [mask for each in corrections for mask in (each.base, each.mask) if mask is not None]
    new = sorted((each for each in corrections if each.mask is not None), key=lambda each: -_area(each.mask))
    instance = np.zeros(labels.instance.shape, np.int64)
    for number, each in enumerate(new, start=1):
        instance[each.mask] = number
    free = instance == 0
    kept = [
        index
        for index, mask in enumerate(old)
        if not any(mask_iou(mask, other) >= SAME_OBJECT for other in about)
        and _area(mask & free) >= (1 - MAX_COVERED) * max(1, _area(mask))
    ]
    visible = [number for number in range(1, len(new) + 1) if (instance == number).any()]
    drawn = np.zeros(labels.instance.shape, np.int32)
    for number, index in enumerate(kept, start=1):
        drawn[old[index] & free] = number
    for number, seen in enumerate(visible, start=len(kept) + 1):
        drawn[instance == seen] = number
    chosen = [new[seen - 1] for seen in visible]
    centers = [np.argwhere(instance == seen).mean(axis=0) for seen in visible]
    corrected = MergedLabels(
        instance=drawn,
        category_id=_joined(labels.category_id[kept], [each.category_id for each in chosen]),
        score=_joined(labels.score[kept], [1.0] * len(chosen)),
        center_yx=_joined(labels.center_yx[kept], np.reshape(centers, (-1, 2))),
        pseudo_id=_joined(labels.pseudo_id[kept], [0] * len(chosen)),
    )
    return corrected, [*(by[index] for index in kept), *(each.by for each in chosen)]


def _area(mask: Bool[np.ndarray, "h w"] | None) -> int:
    return 0 if mask is None else int(mask.sum())


def _joined(old: np.ndarray, new: Sequence | np.ndarray) -> np.ndarray:
    return np.concatenate((old, np.asarray(new, old.dtype).reshape(len(new), *old.shape[1:])))
