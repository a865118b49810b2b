"""Scores without a truth: what two models and the image-level labels say about each other."""

import dataclasses

import numpy as np
import pytest

from bestie.artifacts.instances import instance_rows
from bestie.evaluation.agreement import agreement_rows, label_precision, mean_agreement
from bestie.evaluation.scores import mask_table
from bestie.metrics.masks import MaskTable
from bestie.records import Category, ImageRecord

CATEGORIES = [Category(1, "cat", 1), Category(2, "dog", 2), Category(3, "cow", 3)]
RECORDS = [
    ImageRecord(5, "a", "val", "a.jpg", 20, 20, "00", (1,)),
    ImageRecord(6, "b", "val", "b.jpg", 20, 20, "00", (2,)),
    ImageRecord(9, "c", "val", "c.jpg", 20, 20, "00", (1, 2)),
]
#: row -> (left edge of a box of 8 px, category_id, score) of each instance
Found = dict[int, list[tuple[int, int, float]]]


def table(found: Found) -> MaskTable:
    rows, by_row = [], {record.row: record for record in RECORDS}
    for row, instances in found.items():
        masks = []
        for left, _, _ in instances:
            mask = np.zeros((20, 20), bool)
            mask[2:10, left : left + 8] = True
            masks.append(mask)
        scores = [score for _, _, score in instances]
        rows += instance_rows(by_row[row], masks, [category for _, category, _ in instances], scores=scores)
    return mask_table(rows, by_row)


def test_models_that_find_the_same_agree_whatever_their_scores():
    one = table({5: [(0, 1, 0.9)], 6: [(3, 2, 0.2)]})
    other = table({5: [(1, 1, 0.1)], 6: [(3, 2, 0.8)]})  # an overlap of 7 in 9 columns
    rows = agreement_rows(one, other, RECORDS, CATEGORIES)
    assert [row["class"] for row in rows] == ["cat", "dog", "cow"]
    assert [row["models"] for row in rows[:2]] == [100, 100]
    assert np.isnan(rows[2]["models"])


def test_an_instance_that_the_other_model_lacks_and_another_place_cost_agreement():
    one = table({5: [(0, 1, 0.9)], 9: [(0, 1, 0.9)], 6: [(0, 2, 0.5)]})
    other = table({5: [(0, 1, 0.9)], 6: [(8, 2, 0.5)]})
    rows = agreement_rows(one, other, RECORDS, CATEGORIES)
    assert rows[0]["models"] == pytest.approx(50, abs=5)
    assert rows[1]["models"] == 0


def test_labels_are_told_by_the_best_score_of_an_image():
    right = table({5: [(0, 1, 0.9), (9, 1, 0.1)], 6: [(0, 2, 0.8)], 9: [(0, 1, 0.7), (9, 2, 0.7)]})
    assert label_precision(right, RECORDS, 3)[:2].tolist() == [1, 1]
    wrong = table({6: [(0, 1, 0.9)], 9: [(0, 1, 0.7)]})  # a cat where there is none is the surest
    assert label_precision(wrong, RECORDS, 3)[0] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert np.isnan(label_precision(right, RECORDS, 3)[2])


def test_means_leave_out_what_cannot_be_compared():
    rows = agreement_rows(table({5: [(0, 1, 0.9)]}), table({5: [(0, 1, 0.9)]}), RECORDS, CATEGORIES)
    means = mean_agreement(rows)
    assert means["models"] == 100
    assert set(means) == {"models", "labels_bestie", "labels_mrcnn"}
    nothing = mean_agreement(agreement_rows(table({}), table({}), RECORDS, CATEGORIES))
    assert "models" not in nothing
    assert mean_agreement(agreement_rows(table({}), table({}), [], CATEGORIES)) == {}


def test_images_without_labels_say_nothing_about_labels():
    found = table({5: [(0, 1, 0.5)], 6: [(0, 2, 0.8)], 9: [(0, 1, 0.7)]})
    unlabeled = dataclasses.replace(RECORDS[0], row=11, labels=())
    expected = label_precision(found, RECORDS, 3)
    surest = MaskTable(
        row=np.append(found.row, 11),
        category_id=np.append(found.category_id, 1),
        score=np.append(found.score, 0.99),
        rle=[*found.rle, found.rle[0]],
        is_crowd=np.append(found.is_crowd, False),
    )
    np.testing.assert_array_equal(label_precision(surest, [*RECORDS, unlabeled], 3), expected)
