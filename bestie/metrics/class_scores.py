"""Scores of semantic maps (mean IoU) and of image labels (the classifier's mean average precision)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, UInt8

from bestie.records import VOID


class SemanticScore:
    """The confusion matrix of semantic maps, added up image by image, and the mean IoU that follows from it.

    Maps hold 0 for background, 1..num_classes, or 255 for void. Pixels that are void in the true map do not count; a
    predicted void is a miss.

    Attributes:
        confusion: pixels by true class (rows) and predicted class (columns), background first; the last column counts
            predicted void.
    """

    def __init__(self, num_classes: int) -> None:
        self._size = num_classes + 1
        self.confusion: Int64[np.ndarray, "truth predicted"] = np.zeros((self._size, self._size + 1), np.int64)

    def update(self, predicted: UInt8[np.ndarray, "*shape"], truth: UInt8[np.ndarray, "*shape"]) -> None:
        """Count the pixels of one or several images.

        Raises:
            ValueError: a map has a value that is neither a class nor void.
        """
        allowed = np.r_[np.arange(self._size), VOID]
        for name, values in (("predicted", predicted), ("true", truth)):
            unknown = np.setdiff1d(np.flatnonzero(np.bincount(values.ravel(), minlength=256)), allowed)
            if len(unknown):
                raise ValueError(f"the {name} map has the value {unknown[0]}, above {self._size - 1} classes")
        counted = truth != VOID
        column = np.minimum(predicted[counted], self._size).astype(np.int64)
        cell = truth[counted].astype(np.int64) * (self._size + 1) + column
        self.confusion += np.bincount(cell, minlength=self.confusion.size).reshape(self.confusion.shape)

    @property
    def iou(self) -> Float64[np.ndarray, " classes"]:
        """Intersection over union by class, background first; nan for a class that is neither true nor predicted."""
        square = self.confusion[:, :-1]
        hits = square.diagonal()
        union = self.confusion.sum(axis=1) + square.sum(axis=0) - hits
        return np.divide(hits, union, out=np.full(self._size, np.nan), where=union > 0)

    @property
    def mean_iou(self) -> float:
        """The mean of `iou` over the classes for which it is defined; nan before any pixel is counted."""
        iou = self.iou
        return float(np.nanmean(iou)) if np.isfinite(iou).any() else float("nan")


@dataclass(frozen=True)
class ClassificationMap:
    """Average precision of image labels; element c - 1 is category_id c, nan if no image has that class."""

    ap: Float64[np.ndarray, " c"]
    mean: float


def classification_map(
    scores: Float[np.ndarray, "images c"], labels: Bool[np.ndarray, "images c"]
) -> ClassificationMap:
    """Compute multi-label average precision: the mean precision over the positive images of each class.

    Images with equal scores are one step of the curve.
    """
    ap = np.array([_average_precision(s, t) for s, t in zip(scores.T, labels.T, strict=True)], np.float64)
    mean = float(np.nanmean(ap)) if np.isfinite(ap).any() else float("nan")
    return ClassificationMap(ap, mean)


def _average_precision(score: Float[np.ndarray, " images"], positive: Bool[np.ndarray, " images"]) -> float:
    if not positive.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    step_ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    right = positive[order].cumsum()[step_ends]
    return float((np.diff(right, prepend=0) * (right / (step_ends + 1))).sum() / positive.sum())
