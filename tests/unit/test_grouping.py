"""Regions, centers and Eq. 1 on maps that are small enough to check by eye."""

import numpy as np
import pytest
import torch

from bestie.method.centers import find_centers
from bestie.method.grouping import group_pixels
from bestie.method.regions import Components, center_of_class, find_regions, label_components, label_regions


def two_class_map() -> torch.Tensor:
    """Class 2 left and right, class 1 between them, 10 px wide each, and a void column."""
    semantic = torch.zeros((1, 10, 40), dtype=torch.uint8)
    semantic[..., :10] = 2
    semantic[..., 10:20] = 1
    semantic[..., 20] = 255
    semantic[..., 30:] = 2
    return semantic


def test_components_are_numbered_by_class_and_void_is_none():
    semantic = np.array([[3, 0, 1], [0, 3, 255], [1, 0, 255]], np.uint8)

    components = label_components(semantic)

    np.testing.assert_array_equal(components, [[3, 0, 1], [0, 3, 0], [2, 0, 0]])


def test_regions_of_absent_classes_and_small_ones_are_left_out():
    semantic = two_class_map()
    semantic[0, 0, 25] = 1
    labels = torch.tensor([[1.0, 0.0]])

    everything = find_regions(semantic)
    present = find_regions(semantic, image_labels=labels)

    assert everything.category.tolist() == [1, 0, 2, 2]
    assert present.category.tolist() == [1, 0, 0, 0]
    assert len(present.pixel) == 100


def test_given_components_save_labeling_and_change_nothing():
    semantic = torch.cat((two_class_map(), two_class_map().flip(-1)))
    components = Components.stack([label_components(each.numpy()) for each in semantic])

    own, given = find_regions(semantic), find_regions(semantic, components=components)

    assert torch.equal(own.id_map, given.id_map)
    assert own.category.tolist() == given.category.tolist() == [1, 2, 2, 1, 2, 2]


def test_regions_labeled_before_are_those_that_are_listed():
    semantic = torch.cat((two_class_map(), two_class_map()))
    semantic[0, 0, 25], semantic[1, 3, 25] = 1, 2  # too small
    labels = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    maps = [label_regions(each.numpy(), own.numpy()) for each, own in zip(semantic, labels, strict=True)]

    own = find_regions(semantic, image_labels=labels)
    given = find_regions(semantic, components=Components.stack(maps))

    assert [each.max() for each in maps] == [1, 3]
    assert given.category.tolist() == [category for category in own.category.tolist() if category] == [1, 1, 2, 2]
    assert torch.equal(own.pixel, given.pixel)
    assert (own.max_per_image, given.max_per_image) == (4, 3)


def test_the_score_is_read_from_the_own_class_or_from_a_single_channel():
    regions = find_regions(two_class_map())
    center = torch.zeros((1, 2, 10, 40))
    center[:, 0], center[:, 1] = 0.25, 0.5

    class_wise = center_of_class(center, regions)
    agnostic = center_of_class(center[:, 1:], regions)

    assert class_wise[0, 0, [0, 15, 20, 35]].tolist() == [0.5, 0.25, 0.0, 0.5]
    assert agnostic[0, 0, [0, 15, 20, 35]].tolist() == [0.5, 0.5, 0.0, 0.5]


def test_what_is_no_number_is_no_center():
    regions = find_regions(two_class_map())
    center = torch.full((1, 2, 10, 40), torch.nan)

    score = center_of_class(center, regions)

    assert len(find_centers(score, regions, threshold=0.1, window_px=5).pixel) == 0


def test_a_higher_value_of_another_region_does_not_hide_a_center():
    regions = find_regions(two_class_map())
    score = torch.zeros((1, 10, 40))
    score[0, 5, 9], score[0, 5, 10] = 0.5, 0.9  # neighbors, of class 2 and class 1
    score[0, 5, 5] = 0.4  # of class 2, within the window of the first

    centers = find_centers(score, regions, threshold=0.1, window_px=9)

    assert centers.pixel.tolist() == [5 * 40 + 10, 5 * 40 + 9]
    assert regions.category[centers.region].tolist() == [1, 2]


def test_equal_maxima_are_both_centers_and_the_threshold_is_none():
    regions = find_regions(two_class_map())
    score = torch.zeros((1, 10, 40))
    score[0, 2, 3] = score[0, 2, 5] = 0.5
    score[0, 2, 35] = 0.25

    centers = find_centers(score, regions, threshold=0.25, window_px=9)

    assert centers.pixel.tolist() == [2 * 40 + 3, 2 * 40 + 5]


def test_a_constant_map_has_a_bounded_number_of_centers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bestie.method.centers.MAX_CENTERS_PER_REGION", 7)
    regions = find_regions(two_class_map())

    centers = find_centers(torch.ones((1, 10, 40)), regions, threshold=0.1, window_px=9)

    assert torch.bincount(centers.region).tolist() == [7, 7, 7]


def test_an_even_window_is_refused():
    regions = find_regions(two_class_map())
    with pytest.raises(ValueError, match="window_px is 40"):
        find_centers(torch.ones((1, 10, 40)), regions, threshold=0.1, window_px=40)


def test_pixels_go_to_the_nearest_center_of_their_row(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bestie.method.grouping._DISTANCES_AT_ONCE", 7)  # many chunks, the last one short
    offset = torch.zeros((2, 2, 1, 6))
    offset[1, 1] = 2.0  # in the second image everything points two columns to the right
    centers_yx = torch.tensor([[[0.0, 0.0], [0.0, 5.0]], [[0.0, 1.0], [0.0, 5.0]]])
    valid = torch.ones((2, 2), dtype=torch.bool)
    pixel = torch.arange(12)

    column = group_pixels(offset, pixel, pixel // 6, centers_yx, valid)
    only_first = group_pixels(offset, pixel, pixel // 6, centers_yx, valid & torch.tensor([True, False]))

    assert column.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1]
    assert only_first.tolist() == [0] * 12
