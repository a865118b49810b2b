"""The score at which F1 is largest."""

import numpy as np
import pytest

from bestie.metrics.operating_point import ScoreHistogram


def best(scores: list[float], right: list[bool], num_truth: int) -> float:
    histogram = ScoreHistogram()
    for score, is_right in zip(scores, right, strict=True):
        histogram.update(np.array([score]), np.array([is_right]))
    return histogram.best_score(num_truth)


def test_it_leaves_out_the_wrong_ones_below_the_last_that_helps():
    assert best([0.9, 0.8, 0.3, 0.2], [True, True, False, False], 2) == pytest.approx(0.8)


def test_a_wrong_one_above_a_right_one_is_paid_for():
    assert best([0.9, 0.5, 0.4], [True, False, True], 2) == pytest.approx(0.4)


def test_of_equals_it_is_the_higher():
    # F1 is 2/3 with one right of two objects, and 2/3 with two right and two wrong.
    assert best([0.9, 0.5, 0.5, 0.4], [True, False, False, True], 2) == pytest.approx(0.9)


@pytest.mark.parametrize(("scores", "right"), [([], []), ([0.7], [False])])
def test_without_a_right_prediction_nothing_is_left_out(scores: list[float], right: list[bool]):
    assert best(scores, right, 3) == 0


def test_scores_beyond_one_count_as_one():
    assert best([1.2, 0.1], [True, False], 1) == 1
