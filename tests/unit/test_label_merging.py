"""Pseudo labels and what the network finds beside them."""

import numpy as np
import pytest

from bestie.method.inference import Instances
from bestie.method.label_merging import MergedLabels, merge_labels

SIZE = (10, 20)


def found(*boxes: tuple[slice, slice], scores: tuple[float, ...] = ()) -> Instances:
    """Instances of class 2 in boxes."""
    instance = np.zeros(SIZE, np.int32)
    for number, box in enumerate(boxes, start=1):
        instance[box] = number
    count = len(boxes)
    return Instances(
        category_id=np.full(count, 2, np.int32),
        score=np.array(scores or [0.5] * count, np.float32),
        center_yx=np.arange(2 * count, dtype=np.float32).reshape(-1, 2),
        instance=instance,
        semantic=np.where(instance > 0, 2, 0).astype(np.uint8),
    )


def merge(pseudo: np.ndarray, instances: Instances, *, min_score: float = 0.0, min_area_px: int = 1) -> MergedLabels:
    count = int(pseudo.max(initial=0))
    return merge_labels(
        pseudo,
        np.ones(count, np.int32),
        np.full(count, 0.9, np.float32),
        np.zeros((count, 2), np.float32),
        instances,
        min_score=min_score,
        min_area_px=min_area_px,
    )


@pytest.fixture
def pseudo() -> np.ndarray:
    """Two pseudo labels at the left."""
    labels = np.zeros(SIZE, np.int32)
    labels[:5, :5], labels[5:, :5] = 1, 2
    return labels


def test_pseudo_labels_come_first_and_stay_as_they_are(pseudo: np.ndarray):
    labels = merge(pseudo, found(np.s_[:, 10:15]))
    assert labels.category_id.tolist() == [1, 1, 2]
    assert labels.pseudo_id.tolist() == [1, 2, 0]
    np.testing.assert_array_equal(np.where(labels.instance <= 2, labels.instance, 0), pseudo)
    np.testing.assert_array_equal(labels.instance == 3, found(np.s_[:, 10:15]).instance == 1)
    assert labels.center_yx[2].tolist() == [0, 1]


def test_what_pseudo_labels_cover_by_more_than_half_is_left_out_and_the_rest_is_cut_back(pseudo: np.ndarray):
    mostly_covered, half_covered = np.s_[:5, :9], np.s_[5:, :10]
    labels = merge(pseudo, found(mostly_covered, half_covered))
    assert labels.pseudo_id.tolist() == [1, 2, 0]
    np.testing.assert_array_equal(
        np.argwhere(labels.instance == 3), np.argwhere(np.pad(np.ones((5, 5)), ((5, 0), (5, 10))))
    )


def test_scores_and_areas_bound_what_is_added_and_no_pseudo_label(pseudo: np.ndarray):
    labels = merge(pseudo, found(np.s_[:, 10:15], np.s_[:, 16:], scores=(0.2, 0.3)), min_score=0.25)
    assert labels.score.tolist() == pytest.approx([0.9, 0.9, 0.3])
    cut = found(np.s_[:5, :10])
    assert len(merge(pseudo, cut, min_area_px=25).category_id) == 3
    assert len(merge(pseudo, cut, min_area_px=26).category_id) == 2


def test_without_pseudo_labels_all_instances_stay_however_small():
    instances = found(np.s_[:1, :2], np.s_[3:, 10:15])
    labels = merge(np.zeros(SIZE, np.int32), instances, min_area_px=50)
    np.testing.assert_array_equal(labels.instance, instances.instance)
    assert labels.pseudo_id.tolist() == [0, 0]


def test_an_instance_with_a_negative_score_stays_with_score_0():
    labels = merge(np.zeros(SIZE, np.int32), found(np.s_[:, :5], np.s_[:, 10:], scores=(-0.2, 0.4)))
    assert labels.score.tolist() == pytest.approx([0, 0.4])


def test_an_image_without_anything_is_empty():
    labels = merge(np.zeros(SIZE, np.int32), found())
    assert (len(labels.category_id), labels.center_yx.shape, labels.instance.max()) == (0, (0, 2), 0)
