"""Instances of two versions are paired by the IoU of their masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bestie.artifacts.instances import encode_mask
from bestie.audit.matching import Change, Masks, Pair, match_instances


def masks_of(shapes: list[np.ndarray], classes: list[int] | None = None) -> Masks:
    height, width = shapes[0].shape if shapes else (8, 10)
    ids = np.array(classes if classes is not None else [0] * len(shapes), np.int64)
    return Masks([encode_mask(shape) for shape in shapes], ids, height, width)


def box(top: int, left: int, height: int, width: int, size: tuple[int, int] = (8, 10)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_equal_masks_of_one_class_are_unchanged():
    shapes = [box(0, 0, 2, 2), box(4, 4, 3, 3)]
    pairs = match_instances(masks_of(shapes), masks_of(shapes[::-1]))
    assert pairs == [Pair(Change.UNCHANGED, 0, 1, 1.0, 0), Pair(Change.UNCHANGED, 1, 0, 1.0, 0)]


def test_a_mask_that_overlaps_enough_has_moved():
    pairs = match_instances(masks_of([box(0, 0, 2, 6)]), masks_of([box(0, 1, 2, 6)]))
    assert pairs == [Pair(Change.MOVED, 0, 0, 10 / 14, 4)]


def test_a_mask_that_overlaps_too_little_vanished_and_another_appeared():
    before, after = masks_of([box(0, 0, 2, 6)]), masks_of([box(0, 4, 2, 5)])
    assert match_instances(before, after) == [
        Pair(Change.VANISHED, 0, None, 0.0, 12),
        Pair(Change.APPEARED, None, 0, 0.0, 10),
    ]
    assert match_instances(before, after, min_iou=0.2)[0].change is Change.MOVED


def test_an_equal_mask_of_another_class_has_changed_its_class_and_all_its_pixels():
    shape = [box(2, 2, 3, 3)]
    assert match_instances(masks_of(shape, [1]), masks_of(shape, [2])) == [Pair(Change.CLASS_CHANGED, 0, 0, 1.0, 9)]


def test_among_equal_overlaps_the_same_class_is_taken():
    shape = box(2, 2, 3, 3)
    pairs = match_instances(masks_of([shape], [5]), masks_of([shape, shape], [4, 5]))
    assert pairs == [Pair(Change.UNCHANGED, 0, 1, 1.0, 0), Pair(Change.APPEARED, None, 0, 0.0, 9)]


def test_masks_without_any_overlap_are_no_pair_however_little_is_asked():
    pairs = match_instances(masks_of([box(0, 0, 2, 2)]), masks_of([box(5, 5, 2, 2)]), min_iou=0)
    assert [pair.change for pair in pairs] == [Change.VANISHED, Change.APPEARED]


def test_an_image_of_another_size_has_no_pairs():
    after = masks_of([box(0, 0, 2, 2, size=(9, 10))])
    changes = [pair.change for pair in match_instances(masks_of([box(0, 0, 2, 2)]), after)]
    assert changes == [Change.VANISHED, Change.APPEARED]


def test_an_image_may_have_more_masks_than_pycocotools_takes_at_once():
    shapes = [box(y, x, 1, 1, size=(20, 20)) for y in range(20) for x in range(20)]
    assert {pair.change for pair in match_instances(masks_of(shapes), masks_of(shapes))} == {Change.UNCHANGED}


@settings(max_examples=60, deadline=None)
@given(
    before=arrays.arrays(np.uint8, (8, 10), elements=st.integers(0, 4)),
    after=arrays.arrays(np.uint8, (8, 10), elements=st.integers(0, 4)),
    min_iou=st.sampled_from([0.1, 0.5, 0.9]),
)
def test_pairs_partition_both_versions_and_agree_with_unpacked_masks(
    before: np.ndarray, after: np.ndarray, min_iou: float
):
    old = [before == number for number in range(1, 5) if (before == number).any()]
    new = [after == number for number in range(1, 5) if (after == number).any()]
    pairs = match_instances(masks_of(old), masks_of(new), min_iou=min_iou)
    assert sorted(p.before for p in pairs if p.before is not None) == list(range(len(old)))
    assert sorted(p.after for p in pairs if p.after is not None) == list(range(len(new)))
    for pair in pairs:
        a = np.zeros((8, 10), bool) if pair.before is None else old[pair.before]
        b = np.zeros((8, 10), bool) if pair.after is None else new[pair.after]
        assert pair.changed_px == (a ^ b).sum()
        if pair.before is not None and pair.after is not None:
            assert pair.iou == pytest.approx((a & b).sum() / (a | b).sum())
            assert pair.iou >= min_iou
            assert (pair.change is Change.UNCHANGED) == (a == b).all()
    left_over = [(p, q) for p in pairs for q in pairs if p.after is None and q.before is None]
    for p, q in left_over:
        a, b = old[p.before], new[q.after]  # type: ignore[index]
        assert (a & b).sum() / (a | b).sum() < min_iou
