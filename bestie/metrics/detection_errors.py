"""What is wrong with the instances of an image: a verdict on each prediction, and the true objects that are missed.

The kinds of error follow TIDE (Bolya et al., ECCV 2020), at one IoU threshold and without its weighting by average
precision, so that they are counts of things that can be looked at. Predictions are judged in the order of their
scores. A prediction is

- correct if its IoU with the true mask of its class that it overlaps most reaches the threshold, and no earlier
  prediction found that mask, which is the rule of `voc_ap`;
- a duplicate if the same holds, but an earlier prediction found that mask;
- of the wrong class if its IoU reaches the threshold with a true mask of another class and with none of its own, or
  reaches the floor with a true mask of another class and with none of its own;
- a poor mask if its best IoU with a true mask of its own class lies between floor and threshold;
- ignored if none of these holds, but the share of it in a crowd region of its class reaches the threshold;
- background otherwise.

A true object is found (by a correct prediction), explained (by a poor mask or a wrong class), or missed. Crowd
regions need not be found.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float64, Int64
from pycocotools import mask as coco_mask

from bestie.metrics.masks import MaskTable

IOU_THRESHOLD = 0.5
IOU_FLOOR = 0.1


class Verdict(StrEnum):
    """The verdict on a prediction or, if MISSED, on a true object."""

    CORRECT = "correct"
    DUPLICATE = "duplicate"
    WRONG_CLASS = "wrong_class"
    POOR_MASK = "poor_mask"
    BACKGROUND = "background"
    IGNORED = "ignored"
    MISSED = "missed"


#: The five kinds of error, in the order in which they are shown.
ERRORS = (
    Verdict.MISSED,
    Verdict.DUPLICATE,
    Verdict.WRONG_CLASS,
    Verdict.POOR_MASK,
    Verdict.BACKGROUND,
)


@dataclass(frozen=True)
class ImageErrors:
    """The verdicts on one image.

    `verdict[i]`, `truth[i]` and `iou[i]` belong to prediction i: the verdict, the true mask that it refers to (-1:
    none), and the intersection over union with that mask. `missed[j]` says whether true mask j is missed.
    """

    verdict: tuple[Verdict, ...]
    truth: Int64[np.ndarray, " p"]
    iou: Float64[np.ndarray, " p"]
    missed: Bool[np.ndarray, " t"]


def find_errors(
    truth: MaskTable,
    predictions: MaskTable,
    *,
    iou_threshold: float = IOU_THRESHOLD,
    iou_floor: float = IOU_FLOOR,
) -> ImageErrors:
    """Judge the predictions of one image; the tables hold the masks of that image only.

    Args:
        truth: the true masks.
        predictions: the predicted masks.
        iou_threshold: the threshold of the module's description, in [0, 1].
        iou_floor: the floor of the module's description, in [0, 1].

    Raises:
        ValueError: the tables have rows of more than one image.
    """
    rows = np.union1d(truth.row, predictions.row)
    if len(rows) > 1:
        raise ValueError(f"errors are found image by image, but the tables have the rows {rows.tolist()}")
    iou, crowd_share = _overlaps(truth, predictions)
    same = truth.category_id[None] == predictions.category_id[:, None]
    own, own_truth = _best(np.where(same, iou, 0.0))
    other, other_truth = _best(np.where(same, 0.0, iou))
    matches = own >= iou_threshold
    mistaken = ~matches & ((other >= iou_threshold) | ((other >= iou_floor) & (own < iou_floor)))
    poor = ~matches & ~mistaken & (own >= iou_floor)
    about = np.where(matches | poor, own_truth, np.where(mistaken, other_truth, -1))

    taken = np.zeros(len(truth), bool)
    verdict = [Verdict.BACKGROUND] * len(predictions)
    for index in np.argsort(-predictions.score, kind="stable"):
        if matches[index]:
            verdict[index] = Verdict.DUPLICATE if taken[about[index]] else Verdict.CORRECT
            taken[about[index]] = True
        elif mistaken[index]:
            verdict[index] = Verdict.WRONG_CLASS
        elif poor[index]:
            verdict[index] = Verdict.POOR_MASK
        elif crowd_share[index] >= iou_threshold:
            verdict[index] = Verdict.IGNORED
    missed = ~truth.is_crowd
    missed[about[about >= 0]] = False
    return ImageErrors(tuple(verdict), about, np.where(mistaken, other, np.where(about >= 0, own, 0.0)), missed)


def _overlaps(truth: MaskTable, predictions: MaskTable) -> tuple[Float64[np.ndarray, "p t"], Float64[np.ndarray, " p"]]:
    """Return the IoU of each prediction with each true mask (0 for crowds), and its largest share in a crowd region."""
    if not len(truth) or not len(predictions):
        return np.zeros((len(predictions), len(truth))), np.zeros(len(predictions))
    crowd = truth.is_crowd.astype(np.uint8).tolist()
    iou = np.asarray(coco_mask.iou(list(predictions.rle), list(truth.rle), crowd), np.float64)
    same = truth.category_id[None] == predictions.category_id[:, None]
    share = np.where(same & truth.is_crowd[None], iou, 0.0).max(axis=1)
    return np.where(truth.is_crowd[None], 0.0, iou), share


def _best(iou: Float64[np.ndarray, "p t"]) -> tuple[Float64[np.ndarray, " p"], Int64[np.ndarray, " p"]]:
    """Return the largest IoU of each prediction and the true mask that has it; 0 and -1 if it overlaps none."""
    if not iou.shape[1]:
        return np.zeros(len(iou)), np.full(len(iou), -1)
    index = iou.argmax(axis=1)
    value = iou[np.arange(len(iou)), index]
    return value, np.where(value > 0, index, -1)
