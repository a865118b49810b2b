"""Tables of masks, and how much the masks of two tables overlap."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex, overload

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Integer
from pycocotools import mask as coco_mask

from bestie.records import ImageRecord

Rle = dict[str, Any]


@dataclass(frozen=True)
class Codes(Sequence[Rle]):
    """The run lengths of many masks, as COCO's dictionaries; each is made when it is asked for.

    A dictionary takes more than twice the memory of the run lengths of a small mask.

    Args:
        counts: the compressed run lengths of each mask.
        images: the image of each mask, which has its size.
    """

    counts: list[bytes]
    images: list[ImageRecord]

    def __len__(self) -> int:
        return len(self.counts)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Rle: ...

    @overload
    def __getitem__(self, index: slice) -> "Codes": ...

    def __getitem__(self, index: SupportsIndex | slice) -> "Rle | Codes":
        if isinstance(index, slice):
            return Codes(self.counts[index], self.images[index])
        image = self.images[index]
        return {"size": [image.height, image.width], "counts": self.counts[index]}


@dataclass(frozen=True)
class MaskTable:
    """Masks of many images, one per element of each column.

    `row` is the row of the mask's image; `category_id` counts from 1; `rle` is COCO's compressed code,
    {"size": [height, width], "counts": bytes or str}. The score of a true mask and the `is_crowd` of a predicted mask
    are not used.

    Raises:
        ValueError: the columns differ in length.
    """

    row: Integer[np.ndarray, " n"]
    category_id: Integer[np.ndarray, " n"]
    score: Float[np.ndarray, " n"]
    rle: Sequence[Rle]
    is_crowd: Bool[np.ndarray, " n"]

    def __post_init__(self) -> None:
        columns = (self.row, self.category_id, self.score, self.rle, self.is_crowd)
        if len({len(column) for column in columns}) > 1:
            raise ValueError(f"columns of one table differ in length: {[len(column) for column in columns]}")

    def __len__(self) -> int:
        return len(self.row)

    @property
    def area_px(self) -> Int64[np.ndarray, " n"]:
        """The number of pixels of each mask."""
        # One at a time: pycocotools refuses a list of more than 255 masks.
        return np.array([coco_mask.area(rle) for rle in self.rle], np.int64)


def mask_iou(one: Bool[np.ndarray, "h w"], other: Bool[np.ndarray, "h w"]) -> float:
    """Return the intersection over union of two masks of one image, 0 to 1; 0 if both are empty."""
    return float(np.count_nonzero(one & other)) / max(float(np.count_nonzero(one | other)), 1)


@dataclass(frozen=True)
class Overlaps:
    """For each predicted mask, the true mask of its image and class that it fits best.

    `best_truth` is the index of that mask in the true table, the first if several fit equally well, and `best_iou` the
    intersection over union with it; if a predicted mask overlaps none, they are -1 and 0. `crowd_share` is the largest
    share of the predicted mask that lies in one crowd region of its class.
    """

    best_iou: Float64[np.ndarray, " p"]
    best_truth: Int64[np.ndarray, " p"]
    crowd_share: Float64[np.ndarray, " p"]


def measure_overlaps(truth: MaskTable, predictions: MaskTable) -> Overlaps:
    """Compare each predicted mask with the true masks of its image and class, without unpacking them."""
    best_iou = np.zeros(len(predictions))
    best_truth = np.full(len(predictions), -1)
    crowd_share = np.zeros(len(predictions))
    for predicted, true in _shared_groups(predictions, truth):
        codes = [predictions.rle[i] for i in predicted], [truth.rle[i] for i in true]
        crowd = truth.is_crowd[true]
        iou = np.asarray(coco_mask.iou(*codes, crowd.astype(np.uint8).tolist()))
        if crowd.any():
            crowd_share[predicted] = iou[:, crowd].max(axis=1)
            iou, true = iou[:, ~crowd], true[~crowd]
        if len(true):
            best_iou[predicted] = iou.max(axis=1)
            best_truth[predicted] = true[iou.argmax(axis=1)]
    best_truth[best_iou == 0] = -1
    return Overlaps(best_iou, best_truth, crowd_share)


def _shared_groups(
    first: MaskTable, second: MaskTable
) -> Iterator[tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " t"]]]:
    """Yield indices into both tables for each image and class that both have."""
    groups = _by_image_and_class(second)
    for key, members in _by_image_and_class(first).items():
        if key in groups:
            yield members, groups[key]


def _by_image_and_class(table: MaskTable) -> dict[tuple[int, int], Int64[np.ndarray, " m"]]:
    order = np.lexsort((table.category_id, table.row))
    keys = np.stack((table.row[order], table.category_id[order]), axis=1)
    starts = np.flatnonzero((keys[1:] != keys[:-1]).any(axis=1)) + 1
    parts = np.split(order, starts) if len(order) else []
    return {(int(table.row[part[0]]), int(table.category_id[part[0]])): part for part in parts}
