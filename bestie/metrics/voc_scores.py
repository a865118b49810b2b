"""Instance average precision as PASCAL VOC defines it (Table 1), and true positives among labels (Figure 6)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer, Num

from bestie.metrics.masks import MaskTable, Overlaps, measure_overlaps

SIZE_EDGES_PX = (32**2, 96**2)


@dataclass(frozen=True)
class VocCurve:
    """Precision and recall of one class after each of its predictions, best score first."""

    score: Float64[np.ndarray, " k"]
    precision: Float64[np.ndarray, " k"]
    recall: Float64[np.ndarray, " k"]


@dataclass(frozen=True)
class VocAp:
    """Average precision, in [0, 1], by threshold and class; column c - 1 is category_id c.

    `ap` is nan for a class without true instances, and `mean` leaves that class out. `curves[t][c - 1]` belongs to
    threshold t; its recall is nan if the class has no true instance.
    """

    iou_thresholds: tuple[float, ...]
    ap: Float64[np.ndarray, "t c"]
    mean: Float64[np.ndarray, " t"]
    num_truth: Int64[np.ndarray, " c"]
    curves: list[list[VocCurve]]


@dataclass(frozen=True)
class TruePositives:
    """How many labels are right, by class; column c - 1 is category_id c."""

    true_positives: Int64[np.ndarray, " c"]
    num_labels: Int64[np.ndarray, " c"]
    num_truth: Int64[np.ndarray, " c"]

    @property
    def precision(self) -> Float64[np.ndarray, " c"]:
        """Share of the labels that are right; nan for a class without labels."""
        return _ratio(self.true_positives, self.num_labels)

    @property
    def recall(self) -> Float64[np.ndarray, " c"]:
        """Share of the true instances that have a label; nan for a class without true instances."""
        return _ratio(self.true_positives, self.num_truth)

    @property
    def total(self) -> "TruePositives":
        """The same numbers for all classes together."""
        columns = (self.true_positives, self.num_labels, self.num_truth)
        return TruePositives(*(column.sum(keepdims=True) for column in columns))


def voc_ap(
    truth: MaskTable,
    predictions: MaskTable,
    *,
    num_classes: int,
    iou_thresholds: Sequence[float] = (0.25, 0.5, 0.7, 0.75),
    overlaps: Overlaps | None = None,
) -> VocAp:
    """Compute instance average precision (Table 1): the area under the interpolated precision-recall curve.

    Predictions are judged in the order of their scores. A prediction is right if its IoU with the true mask of its
    image and class that it overlaps most reaches the threshold, and no earlier prediction found that mask. A wrong
    prediction does not count if the share of it in a crowd region reaches the threshold. Crowd regions need not be
    found.

    Args:
        truth: the true masks.
        predictions: the predicted masks.
        num_classes: C, without background.
        iou_thresholds: the IoU thresholds, in [0, 1].
        overlaps: `measure_overlaps` of the same tables, to save computing it.
    """
    overlaps = overlaps or measure_overlaps(truth, predictions)
    everything = np.ones(len(truth), bool), np.ones(len(predictions), bool)
    return _voc_ap(truth, predictions, overlaps, *everything, iou_thresholds, num_classes)


def voc_ap_by_size(
    truth: MaskTable,
    predictions: MaskTable,
    *,
    num_classes: int,
    iou_thresholds: Sequence[float] = (0.25, 0.5, 0.7, 0.75),
    edges_px: Sequence[int] = SIZE_EDGES_PX,
    overlaps: Overlaps | None = None,
) -> list[VocAp]:
    """Compute `voc_ap` by size of object: below the first edge (area in px), between edges, and from the last edge on.

    As in COCO's small, medium and large, a prediction does not count if it matches an object of another size, or if it
    matches none and is itself of another size.
    """
    overlaps = overlaps or measure_overlaps(truth, predictions)
    sizes = np.digitize(truth.area_px, edges_px), np.digitize(predictions.area_px, edges_px)
    return [
        _voc_ap(truth, predictions, overlaps, sizes[0] == k, sizes[1] == k, iou_thresholds, num_classes)
        for k in range(len(edges_px) + 1)
    ]


def count_true_positives(
    truth: MaskTable, labels: MaskTable, *, num_classes: int, iou_threshold: float = 0.5
) -> TruePositives:
    """Count by class the true instances that some label finds (Figure 6), the labels, and the true instances.

    A label is right by the rule of `voc_ap`; a second label of the same instance is wrong.
    """
    found, counted = _judge(
        labels,
        measure_overlaps(truth, labels),
        ~truth.is_crowd,
        np.ones(len(labels), bool),
        iou_threshold,
    )
    return TruePositives(
        true_positives=_per_class(labels.category_id[found], num_classes),
        num_labels=_per_class(labels.category_id[counted], num_classes),
        num_truth=_per_class(truth.category_id[~truth.is_crowd], num_classes),
    )


def sum_counts(parts: Sequence[TruePositives]) -> TruePositives:
    """Return the counts of all images from those of some images each."""
    names = [field.name for field in fields(TruePositives)]
    return TruePositives(**{name: np.sum([getattr(part, name) for part in parts], axis=0) for name in names})


def _voc_ap(
    truth: MaskTable,
    predictions: MaskTable,
    overlaps: Overlaps,
    wanted: Bool[np.ndarray, " t"],
    of_size: Bool[np.ndarray, " p"],
    iou_thresholds: Sequence[float],
    num_classes: int,
) -> VocAp:
    wanted = wanted & ~truth.is_crowd
    num_truth = _per_class(truth.category_id[wanted], num_classes)
    curves = []
    for threshold in iou_thresholds:
        found, counted = _judge(predictions, overlaps, wanted, of_size, threshold)
        curves.append(_curves(predictions, found, counted, num_truth))
    areas = [[_area_under(curve) for curve in row] for row in curves]
    ap = np.array(areas, np.float64).reshape(len(curves), num_classes)
    ap[:, num_truth == 0] = np.nan
    mean = _ratio(np.nansum(ap, axis=1), np.isfinite(ap).sum(axis=1))
    return VocAp(tuple(iou_thresholds), ap, mean, num_truth, curves)


def _judge(
    predictions: MaskTable,
    overlaps: Overlaps,
    wanted: Bool[np.ndarray, " t"],
    of_size: Bool[np.ndarray, " p"],
    iou_threshold: float,
) -> tuple[Bool[np.ndarray, " p"], Bool[np.ndarray, " p"]]:
    """Return which predictions find a wanted true instance, and which predictions count, right or wrong."""
    matches = (overlaps.best_iou >= iou_threshold) & (overlaps.best_truth >= 0)
    order = np.argsort(-predictions.score, kind="stable")
    candidates = order[matches[order]]
    _, first = np.unique(overlaps.best_truth[candidates], return_index=True)
    found = np.zeros(len(predictions), bool)
    found[candidates[first]] = True
    matches_wanted = np.zeros(len(predictions), bool)
    matches_wanted[matches] = wanted[overlaps.best_truth[matches]]
    counted = np.where(matches, matches_wanted, of_size & (overlaps.crowd_share < iou_threshold))
    return found & counted, counted


def _curves(
    predictions: MaskTable,
    found: Bool[np.ndarray, " p"],
    counted: Bool[np.ndarray, " p"],
    num_truth: Int64[np.ndarray, " c"],
) -> list[VocCurve]:
    order = np.argsort(-predictions.score, kind="stable")
    order = order[counted[order]]
    curves = []
    for column, true_count in enumerate(num_truth):
        own = order[predictions.category_id[order] == column + 1]
        right = found[own].cumsum()
        recall = right / true_count if true_count else np.full(len(own), np.nan)
        score = predictions.score[own].astype(np.float64)
        curves.append(VocCurve(score, right / np.arange(1, len(own) + 1), recall))
    return curves


def _area_under(curve: VocCurve) -> float:
    """Return the area under the curve, after raising each precision to the best one at the same or a higher recall."""
    best_beyond = np.maximum.accumulate(curve.precision[::-1])[::-1]
    return float((np.diff(curve.recall, prepend=0.0) * best_beyond).sum())


def _per_class(category_id: Integer[np.ndarray, " n"], num_classes: int) -> Int64[np.ndarray, " c"]:
    return np.bincount(category_id, minlength=num_classes + 1)[1 : num_classes + 1].astype(np.int64)


def _ratio(part: Num[np.ndarray, " n"], whole: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
