"""Instance metrics against slow second implementations on dense masks, and against pycocotools."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bestie.metrics.coco_scores import coco_ap
from bestie.metrics.masks import MaskTable, measure_overlaps
from bestie.metrics.voc_scores import count_true_positives, voc_ap, voc_ap_by_size

CLASSES, ROWS, SIZE = 3, 4, 150


def table_of(entries: list[tuple[int, int, float, bool, np.ndarray]]) -> MaskTable:
    """A table from (row, category_id, score, is_crowd, dense mask)."""
    return MaskTable(
        row=np.array([e[0] for e in entries], np.int32),
        category_id=np.array([e[1] for e in entries], np.int32),
        score=np.array([e[2] for e in entries], np.float32),
        rle=[coco_mask.encode(np.asfortranarray(e[4], np.uint8)) for e in entries],
        is_crowd=np.array([e[3] for e in entries], bool),
    )


def box(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def make_entries(seed: int) -> tuple[list, list]:
    """True boxes of all sizes, some crowds, and predictions: shifted, doubled, of the wrong class."""
    rng = np.random.default_rng(seed)
    truth, predictions = [], []
    for _ in range(rng.integers(0, 25)):
        place = (*rng.integers(0, 100, 2), *rng.integers(5, 130, 2))
        row, category_id = int(rng.integers(ROWS)), int(rng.integers(1, CLASSES + 1))
        truth.append((row, category_id, 1.0, bool(rng.random() < 0.15), box(*place)))
        for _ in range(rng.integers(0, 3)):
            moved = np.maximum(0, np.array(place) + rng.integers(-12, 13, 4) * (rng.random() < 0.8))
            guess = category_id if rng.random() < 0.8 else int(rng.integers(1, CLASSES + 1))
            mask = box(*moved) if rng.random() < 0.9 else box(*rng.integers(1, 70, 4))
            predictions.append((row, guess, rng.random(), False, mask))
    # A mask without pixels has no overlap in either implementation and no defined one.
    return truth, [p for p in predictions if p[4].any()]


def slow_ap(truth: list, predictions: list, category_id: int, threshold: float, sizes=(0, np.inf)) -> float:
    """One prediction after the other, the best score first, area under the curve by its definition."""
    true = [t for t in truth if t[1] == category_id]
    wanted = [not t[3] and sizes[0] <= t[4].sum() < sizes[1] for t in true]
    if not any(wanted):
        return np.nan
    taken, hits = set(), []
    for row, _, _, _, mask in sorted((p for p in predictions if p[1] == category_id), key=lambda p: -p[2]):
        best, best_iou = None, 0.0
        for i, (true_row, _, _, is_crowd, true_mask) in enumerate(true):
            iou = (mask & true_mask).sum() / (mask | true_mask).sum()
            if true_row == row and not is_crowd and iou > best_iou:
                best, best_iou = i, iou
        if best is not None and best_iou >= threshold:
            if wanted[best]:
                hits.append(best not in taken)
                taken.add(best)
            continue
        crowds = [t[4] for t in true if t[3] and t[0] == row]
        in_crowd = any((mask & crowd).sum() / mask.sum() >= threshold for crowd in crowds)
        if not in_crowd and sizes[0] <= mask.sum() < sizes[1]:
            hits.append(False)
    precision = [sum(hits[: k + 1]) / (k + 1) for k in range(len(hits))]
    return sum(max(precision[k:]) for k in range(len(hits)) if hits[k]) / sum(wanted)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_voc_ap_is_that_of_the_slow_implementation(seed: int):
    truth, predictions = make_entries(seed)

    result = voc_ap(table_of(truth), table_of(predictions), num_classes=CLASSES, iou_thresholds=(0.25, 0.7))

    expected = [[slow_ap(truth, predictions, c + 1, threshold) for c in range(CLASSES)] for threshold in (0.25, 0.7)]
    np.testing.assert_allclose(result.ap, expected, atol=1e-12)
    defined = np.isfinite(expected[0])
    means = np.array(expected)[:, defined].mean(axis=1) if defined.any() else [np.nan, np.nan]
    np.testing.assert_allclose(result.mean, means, atol=1e-12)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_voc_ap_by_size_is_that_of_the_slow_implementation(seed: int):
    truth, predictions = make_entries(seed)

    bins = voc_ap_by_size(table_of(truth), table_of(predictions), num_classes=CLASSES, iou_thresholds=(0.5,))

    edges = (0, 32**2, 96**2, np.inf)
    for k, result in enumerate(bins):
        sizes = edges[k], edges[k + 1]
        expected = [slow_ap(truth, predictions, c + 1, 0.5, sizes) for c in range(CLASSES)]
        np.testing.assert_allclose(result.ap[0], expected, atol=1e-12)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_the_order_of_rows_in_a_table_does_not_matter(seed: int):
    truth, predictions = make_entries(seed)
    rng = np.random.default_rng(seed)
    shuffled = [[entries[i] for i in rng.permutation(len(entries))] for entries in (truth, predictions)]

    straight = voc_ap(table_of(truth), table_of(predictions), num_classes=CLASSES)
    mixed = voc_ap(*map(table_of, shuffled), num_classes=CLASSES)

    np.testing.assert_array_equal(straight.ap, mixed.ap)


def test_a_second_prediction_of_the_same_object_is_wrong():
    truth = table_of([(0, 1, 1.0, False, box(0, 0, 20, 20))])
    twice = table_of([(0, 1, 0.5, False, box(0, 0, 20, 20)), (0, 1, 0.9, False, box(0, 0, 20, 18))])

    result = voc_ap(truth, twice, num_classes=2, iou_thresholds=(0.5, 0.95))

    low, high = result.curves[0][0], result.curves[1][0]
    assert low.precision.tolist() == [1.0, 0.5]
    assert low.score.tolist() == pytest.approx([0.9, 0.5])
    assert high.precision.tolist() == [0.0, 0.5]
    assert result.num_truth.tolist() == [1, 0]
    np.testing.assert_array_equal(result.ap, [[1.0, np.nan], [0.5, np.nan]])
    np.testing.assert_array_equal(result.mean, [1.0, 0.5])


def test_measured_overlaps_can_be_used_again():
    truth, predictions = map(table_of, make_entries(3))
    overlaps = measure_overlaps(truth, predictions)

    again = voc_ap(truth, predictions, num_classes=CLASSES, overlaps=overlaps)

    np.testing.assert_array_equal(again.ap, voc_ap(truth, predictions, num_classes=CLASSES).ap)


def test_columns_of_different_length_are_refused():
    with pytest.raises(ValueError, match="differ in length"):
        MaskTable(np.zeros(2, int), np.ones(2, int), np.ones(2), [], np.zeros(2, bool))


def test_true_positives_count_each_object_once():
    truth = [
        (0, 1, 1.0, False, box(0, 0, 20, 20)),
        (0, 1, 1.0, False, box(50, 50, 20, 20)),
        (1, 2, 1.0, False, box(0, 0, 20, 20)),
        (1, 2, 1.0, True, box(0, 60, 90, 90)),
    ]
    labels = [
        (0, 1, 0.3, False, box(0, 0, 20, 19)),
        (0, 1, 0.4, False, box(0, 0, 20, 18)),
        (0, 2, 1.0, False, box(50, 50, 20, 20)),  # of the wrong class
        (1, 2, 1.0, False, box(20, 70, 30, 30)),  # in a crowd: not counted
    ]

    counts = count_true_positives(table_of(truth), table_of(labels), num_classes=3)

    assert counts.true_positives.tolist() == [1, 0, 0]
    assert counts.num_labels.tolist() == [2, 1, 0]
    assert counts.num_truth.tolist() == [2, 1, 0]
    np.testing.assert_array_equal(counts.precision, [0.5, 0.0, np.nan])
    np.testing.assert_array_equal(counts.recall, [0.5, 0.0, np.nan])
    assert counts.total.precision.tolist() == [1 / 3]
    assert counts.total.recall.tolist() == [1 / 3]


def pycocotools_stats(truth: MaskTable, predictions: MaskTable) -> np.ndarray:
    def entries(table: MaskTable) -> list[dict]:
        return [
            {
                "id": i + 1,
                "image_id": int(table.row[i]),
                "category_id": int(table.category_id[i]),
                "segmentation": table.rle[i],
                "area": int(coco_mask.area(table.rle[i])),
                "iscrowd": int(table.is_crowd[i]),
                "score": float(table.score[i]),
            }
            for i in range(len(table))
        ]

    with contextlib.redirect_stdout(io.StringIO()):
        data_sets = []
        for table in (truth, predictions):
            data_sets.append(COCO())
            data_sets[-1].dataset = {
                "images": [{"id": row, "height": SIZE, "width": SIZE} for row in range(ROWS)],
                "categories": [{"id": c + 1} for c in range(CLASSES)],
                "annotations": entries(table),
            }
            data_sets[-1].createIndex()
        evaluation = COCOeval(*data_sets, iouType="segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return np.where(evaluation.stats < 0, np.nan, evaluation.stats)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_coco_ap_has_the_digits_of_pycocotools(seed: int):
    truth, predictions = map(table_of, make_entries(seed))

    result = coco_ap(truth, predictions, rows=range(ROWS), num_classes=CLASSES)

    expected = pycocotools_stats(truth, predictions)
    np.testing.assert_allclose(list(result.summary.values()), expected, atol=1e-12)
    if np.isfinite(result.per_class).any():
        assert np.nanmean(result.per_class) == pytest.approx(result.summary["AP"])


def test_coco_ap_is_defined_without_predictions_and_undefined_without_truth():
    mask = (0, 1, 0.9, False, box(0, 0, 40, 40))
    one, none = table_of([mask]), table_of([])

    missed = coco_ap(one, none, rows=[0, 1], num_classes=2)
    groundless = coco_ap(none, one, rows=[0, 1], num_classes=2)
    perfect = coco_ap(one, one, rows=[0, 1], num_classes=2)

    assert missed.summary["AP"] == 0.0
    assert np.isnan(groundless.summary["AP"])
    assert perfect.summary["AP"] == pytest.approx(1.0)
    np.testing.assert_allclose(perfect.per_class, [1.0, np.nan])


def test_coco_ap_refuses_masks_of_other_images():
    stranger = table_of([(7, 1, 0.9, False, box(0, 0, 40, 40))])
    with pytest.raises(ValueError, match="predicted masks have the row 7"):
        coco_ap(table_of([]), stranger, rows=[0, 1], num_classes=1)
