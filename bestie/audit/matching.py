"""The instances of two versions of an image, matched by the IoU of their masks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float64, Integer
from pycocotools import mask as coco_mask


class Change(StrEnum):
    """What became of an instance."""

    UNCHANGED = "unchanged"
    MOVED = "moved"
    CLASS_CHANGED = "class_changed"
    APPEARED = "appeared"
    VANISHED = "vanished"


@dataclass(frozen=True)
class Masks:
    """The instances of one image: masks as COCO's compressed counts, class indices, and the image's size in px."""

    counts: Sequence[str]
    classes: Integer[np.ndarray, " n"]
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def codes(self) -> list[dict]:
        """The masks in the form that pycocotools takes."""
        return [{"size": [self.height, self.width], "counts": each.encode("ascii")} for each in self.counts]


@dataclass(frozen=True)
class Pair:
    """What became of one instance: its index in both versions; None in a version that lacks it.

    `iou` is that of its two masks, 0 to 1. `changed_px` counts the pixels that are its own in only one of the
    versions; if its class changed, the pixels that are its own in either.
    """

    change: Change
    before: int | None
    after: int | None
    iou: float
    changed_px: int


def match_instances(before: Masks, after: Masks, *, min_iou: float = 0.5) -> list[Pair]:
    """Pair the instances of two versions of one image.

    Two instances are the same if their IoU is at least `min_iou` (0 to 1), whatever their classes. The pairs with the
    largest IoU are taken first, and of equal ones those with the same class. An instance without a counterpart has
    vanished or appeared. If the size of the image differs between the versions, nothing is paired.

    Returns:
        The pairs in the order of `before`, then the instances that appeared.
    """
    area_before, area_after = _areas(before), _areas(after)
    iou = _iou(before, after)
    partner = _partners(iou, before.classes[:, None] == after.classes[None, :], min_iou)
    pairs = []
    for old in range(len(before)):
        new = partner.get(old)
        if new is None:
            pairs.append(Pair(Change.VANISHED, old, None, 0.0, int(area_before[old])))
            continue
        overlap = float(iou[old, new])
        both = int(area_before[old] + area_after[new])
        # IoU = I / (both - I), so I = both * IoU / (1 + IoU).
        shared = round(both * overlap / (1 + overlap))
        if before.classes[old] != after.classes[new]:
            pairs.append(Pair(Change.CLASS_CHANGED, old, new, overlap, both - shared))
        else:
            change = Change.UNCHANGED if overlap == 1 else Change.MOVED
            pairs.append(Pair(change, old, new, overlap, both - 2 * shared))
    taken = set(partner.values())
    appeared = (new for new in range(len(after)) if new not in taken)
    return pairs + [Pair(Change.APPEARED, None, new, 0.0, int(area_after[new])) for new in appeared]


def sizes(counts: Mapping[Change, int]) -> tuple[int, int]:
    """Return the number of instances before and after, given their numbers by what became of them."""
    before = sum(count for change, count in counts.items() if change is not Change.APPEARED)
    return before, before - counts[Change.VANISHED] + counts[Change.APPEARED]


def _partners(iou: Float64[np.ndarray, "n m"], same_class: np.ndarray, min_iou: float) -> dict[int, int]:
    old, new = np.nonzero(iou >= max(min_iou, np.finfo(float).tiny))
    order = np.lexsort((~same_class[old, new], -iou[old, new]))
    partner: dict[int, int] = {}
    taken: set[int] = set()
    for first, second in zip(old[order].tolist(), new[order].tolist(), strict=True):
        if first not in partner and second not in taken:
            partner[first] = second
            taken.add(second)
    return partner


def _iou(before: Masks, after: Masks) -> Float64[np.ndarray, "n m"]:
    if not len(before) or not len(after) or (before.height, before.width) != (after.height, after.width):
        return np.zeros((len(before), len(after)))
    return np.asarray(coco_mask.iou(before.codes, after.codes, [0] * len(after)), np.float64)


def _areas(masks: Masks) -> np.ndarray:
    # One at a time: pycocotools refuses a list of more than 255 masks.
    return np.array([coco_mask.area(code) for code in masks.codes], np.int64)
