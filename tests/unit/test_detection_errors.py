"""Each kind of error, on masks whose overlaps are known."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from bestie.metrics.detection_errors import Verdict, find_errors
from bestie.metrics.masks import MaskTable
from bestie.metrics.voc_scores import count_true_positives

HEIGHT, WIDTH = 20, 100


def box(left: int, width: int) -> np.ndarray:
    """A mask of full height, `width` columns from `left` on: overlaps are those of intervals."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, left : left + width] = 1
    return mask


def table(*entries: tuple[int, int, int, float], crowd: tuple[bool, ...] = (), row: int = 0) -> MaskTable:
    """Masks from (left, width, category_id, score)."""
    return MaskTable(
        row=np.full(len(entries), row),
        category_id=np.array([entry[2] for entry in entries], np.int64),
        score=np.array([entry[3] for entry in entries], np.float64),
        rle=[coco_mask.encode(np.asfortranarray(box(*entry[:2]))) for entry in entries],
        is_crowd=np.array(crowd or [False] * len(entries), bool),
    )


def verdicts(truth: MaskTable, found: MaskTable) -> list[Verdict]:
    return list(find_errors(truth, found).verdict)


COW = table((0, 20, 1, 1.0))


@pytest.mark.parametrize(
    ("left", "category_id", "verdict"),
    [
        (0, 1, Verdict.CORRECT),
        (6, 1, Verdict.CORRECT),  # IoU 14 / 26
        (7, 1, Verdict.POOR_MASK),  # IoU 13 / 27
        (16, 1, Verdict.POOR_MASK),  # IoU 4 / 36
        (17, 1, Verdict.BACKGROUND),  # IoU 3 / 37
        (60, 1, Verdict.BACKGROUND),
        (6, 2, Verdict.WRONG_CLASS),
        (16, 2, Verdict.WRONG_CLASS),
        (17, 2, Verdict.BACKGROUND),
    ],
)
def test_one_prediction_near_one_object(left: int, category_id: int, verdict: Verdict):
    assert verdicts(COW, table((left, 20, category_id, 0.5))) == [verdict]


def test_of_two_that_fit_the_one_with_the_better_score_is_correct():
    assert verdicts(COW, table((0, 20, 1, 0.3), (2, 20, 1, 0.9))) == [Verdict.DUPLICATE, Verdict.CORRECT]


def test_a_poor_mask_of_its_own_class_goes_before_a_weak_overlap_with_another():
    truth = table((0, 20, 1, 1.0), (20, 20, 2, 1.0))
    found = find_errors(truth, table((10, 20, 1, 0.5)))
    assert found.verdict == (Verdict.POOR_MASK,)
    assert found.truth.tolist() == [0]
    assert found.iou[0] == pytest.approx(1 / 3)


def test_a_good_overlap_with_another_class_goes_before_a_poor_one_with_its_own():
    truth = table((0, 20, 1, 1.0), (15, 20, 2, 1.0))
    found = find_errors(truth, table((13, 20, 1, 0.5)))
    assert found.verdict == (Verdict.WRONG_CLASS,)
    assert found.truth.tolist() == [1]


def test_a_correct_prediction_stays_correct_beside_another_class():
    truth = table((0, 20, 1, 1.0), (0, 20, 2, 1.0))
    assert verdicts(truth, table((0, 20, 1, 0.5))) == [Verdict.CORRECT]


def test_missed_is_what_nothing_finds_or_explains():
    truth = table((0, 20, 1, 1.0), (30, 20, 1, 1.0), (60, 20, 1, 1.0))
    found = find_errors(truth, table((0, 20, 1, 0.9), (40, 20, 1, 0.8)))
    assert found.verdict == (Verdict.CORRECT, Verdict.POOR_MASK)
    assert found.missed.tolist() == [False, False, True]


def test_in_a_crowd_of_its_class_a_prediction_is_ignored_and_the_crowd_need_not_be_found():
    truth = table((0, 50, 1, 1.0), crowd=(True,))
    found = find_errors(truth, table((10, 20, 1, 0.5), (10, 20, 2, 0.5)))
    assert found.verdict == (Verdict.IGNORED, Verdict.BACKGROUND)
    assert not found.missed.any()


def test_without_objects_all_is_background_and_without_predictions_all_is_missed():
    nothing = table()
    assert verdicts(nothing, COW) == [Verdict.BACKGROUND]
    assert find_errors(COW, nothing).missed.tolist() == [True]
    assert find_errors(nothing, nothing).verdict == ()


def test_correct_predictions_are_the_true_positives_of_the_voc_rule():
    rng = np.random.default_rng(0)
    for _ in range(20):
        entries = [
            (int(left), int(width), int(c), float(s))
            for left, width, c, s in zip(
                rng.integers(0, 70, 12), rng.integers(5, 30, 12), rng.integers(1, 3, 12), rng.random(12), strict=True
            )
        ]
        truth, found = table(*entries[:5]), table(*entries[5:])
        right = verdicts(truth, found).count(Verdict.CORRECT)
        assert right == count_true_positives(truth, found, num_classes=2).total.true_positives[0]


def test_images_are_judged_one_at_a_time():
    with pytest.raises(ValueError, match=r"rows \[0, 1\]"):
        find_errors(COW, table((0, 20, 1, 0.5), row=1))
