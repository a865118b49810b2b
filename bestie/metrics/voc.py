"""Instance average precision as PASCAL VOC has it (Table 1), and true positives among labels (Figure 6)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer, Num

from bestie.metrics.masks import MaskTable, Overlaps, measure_overlaps

SIZE_EDGES_PX = (32**2, 96**2)


@dataclass(frozen=True)
class VocCurve:
    """Precision and recall of one class after each of its predictions, the best score first."""

    score: Float64[np.ndarray, " k"]
    precision: Float64[np.ndarray, " k"]
    recall: Float64[np.ndarray, " k"]


@dataclass(frozen=True)
class VocAp:
    """Average precision by threshold and class; column c - 1 is category_id c.

    `ap` is nan for a class without true instances, and `mean` leaves it out. `curves[t][c - 1]` belongs to
    threshold t; its recall is nan where the class has no true instance.
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
        """All classes as one."""
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
    """Instance average precision (Table 1): the area under the interpolated precision-recall curve.

    In the order of their scores, a prediction is right if the true mask of its image and class that it
    overlaps most does so by the threshold or more, and no earlier prediction had that one. A prediction that
    misses, but lies in a crowd region by the threshold or more, does not count; crowd regions need not be
    found. `overlaps` saves measuring: `measure_overlaps` of the same tables.
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
    """`voc_ap` by size of object: below the first edge (px of area), between edges, from the last on.

    What matches an object of another size does not count, nor does what matches nothing and is itself of
    another size, as in COCO's small, medium and large.
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
    """Count the true instances that some label finds (Figure 6), and labels and true instances, by class.

    A label is right under the rule of `voc_ap`; a second label of the same instance is wrong.
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
    """Which predictions find a wanted true instance, and which count, right or wrong."""
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
    """The area under precision, made falling from right to left, over the steps of recall."""
    best_beyond = np.maximum.accumulate(curve.precision[::-1])[::-1]
    return float((np.diff(curve.recall, prepend=0.0) * best_beyond).sum())


def _per_class(category_id: Integer[np.ndarray, " n"], num_classes: int) -> Int64[np.ndarray, " c"]:
    return np.bincount(category_id, minlength=num_classes + 1)[1 : num_classes + 1].astype(np.int64)


def _ratio(part: Num[np.ndarray, " n"], whole: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
