"""What is wrong with the instances of an image: one verdict a prediction, and the true objects that none explains.

The kinds follow TIDE (Bolya et al., ECCV 2020), at one IoU threshold and without its weighting by average
precision: counts that a person can look at. In the order of their scores, a prediction is

- correct: the true mask of its class that it overlaps most does so by the threshold or more, and no earlier
  prediction had that one, which is the rule of `voc_ap`;
- duplicate: the same, but an earlier prediction had it;
- wrong class: it overlaps a true mask of another class by the threshold or more, and none of its own; or by the
  floor or more, and none of its own that much;
- poor mask: its best overlap with a true mask of its own class lies between floor and threshold;
- ignored: nothing of these, but it lies in a crowd region of its class by the threshold or more;
- background: all others.

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
    """What a prediction is, or, for MISSED, what a true object is."""

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
    """The verdicts of one image.

    `verdict[i]`, `truth[i]` and `iou[i]` belong to prediction i: what it is, the true mask that this is about
    (-1: none), and the intersection over union with it. `missed[j]` belongs to true mask j.
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
    """Judge the predictions of one image; the tables hold its masks alone.

    Raises ValueError where the tables have rows of more than one image.
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
    """IoU of each prediction with each true mask, 0 for crowds; the largest share in a crowd of its class."""
    if not len(truth) or not len(predictions):
        return np.zeros((len(predictions), len(truth))), np.zeros(len(predictions))
    crowd = truth.is_crowd.astype(np.uint8).tolist()
    iou = np.asarray(coco_mask.iou(list(predictions.rle), list(truth.rle), crowd), np.float64)
    same = truth.category_id[None] == predictions.category_id[:, None]
    share = np.where(same & truth.is_crowd[None], iou, 0.0).max(axis=1)
    return np.where(truth.is_crowd[None], 0.0, iou), share


def _best(iou: Float64[np.ndarray, "p t"]) -> tuple[Float64[np.ndarray, " p"], Int64[np.ndarray, " p"]]:
    """The largest overlap of each prediction and the true mask it is with; 0 and -1 where there is none."""
    if not iou.shape[1]:
        return np.zeros(len(iou)), np.full(len(iou), -1)
    index = iou.argmax(axis=1)
    value = iou[np.arange(len(iou)), index]
    return value, np.where(value > 0, index, -1)
