"""Mean IoU and the classifier's mean average precision against their definitions."""

import numpy as np
import pytest

from bestie.metrics.class_scores import SemanticScore, classification_map

NOTHING = float("nan")


def test_mean_iou_is_that_of_the_definition_over_several_images():
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 2, 255], (3, 40, 50)).astype(np.uint8)
    predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, 3, truth.shape)).astype(np.uint8)
    score = SemanticScore(4)

    for image in range(3):
        score.update(predicted[image], truth[image])

    seen = truth != 255
    expected = []
    for c in range(3):
        intersection = ((predicted == c) & (truth == c)).sum()
        expected.append(intersection / (((predicted == c) | (truth == c)) & seen).sum())
    np.testing.assert_allclose(score.iou, [*expected, NOTHING, NOTHING])
    assert score.mean_iou == pytest.approx(np.mean(expected))


def test_a_predicted_void_is_a_miss_and_a_true_void_does_not_count():
    score = SemanticScore(2)

    score.update(np.array([1, 1, 255, 2], np.uint8), np.array([1, 1, 1, 255], np.uint8))

    np.testing.assert_allclose(score.iou, [NOTHING, 2 / 3, NOTHING])


def test_a_class_that_is_only_predicted_counts_with_zero():
    score = SemanticScore(2)

    score.update(np.array([1, 2], np.uint8), np.array([1, 1], np.uint8))

    np.testing.assert_allclose(score.iou, [NOTHING, 0.5, 0.0])
    assert score.mean_iou == 0.25


def test_before_any_pixel_the_mean_iou_is_undefined():
    assert np.isnan(SemanticScore(2).mean_iou)


def test_unknown_values_are_refused_by_name():
    with pytest.raises(ValueError, match="the true map has the value 3"):
        SemanticScore(2).update(np.zeros(2, np.uint8), np.array([0, 3], np.uint8))


def test_the_mean_average_precision_is_that_of_the_definition():
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 8, (60, 5)).astype(np.float32)  # many ties
    labels = rng.random((60, 5)) < 0.3
    labels[:, 3] = False

    result = classification_map(scores, labels)

    expected = []
    for score, positive in zip(scores.T, labels.T, strict=True):
        at_least = [score >= value for value in score[positive]]
        expected.append(np.mean([positive[kept].mean() for kept in at_least]) if len(at_least) else NOTHING)
    np.testing.assert_allclose(result.ap, expected)
    assert result.mean == pytest.approx(np.nanmean(expected))


def test_perfect_scores_have_a_mean_average_precision_of_one():
    labels = np.array([[True, False], [False, True], [True, True]])

    assert classification_map(labels.astype(np.float32), labels).mean == 1.0
    assert np.isnan(classification_map(np.zeros((3, 2), np.float32), np.zeros((3, 2), bool)).mean)
