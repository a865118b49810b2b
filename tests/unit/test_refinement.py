"""What becomes a refined label, and its weight."""

import numpy as np
import pytest
import torch

from bestie.method.refinement import refine
from bestie.method.regions import Components, label_components

HEIGHT, WIDTH = 30, 60


def one_component(*peaks: tuple[int, int, float]) -> dict[str, torch.Tensor]:
    """One component of class 2 over the whole map, peaks (y, x, value) of one pixel, offsets to them."""
    grid = np.indices((HEIGHT, WIDTH))
    away = np.array([peak[:2] for peak in peaks])[:, :, None, None] - grid
    nearest = (away**2).sum(axis=1).argmin(axis=0)
    offset = np.take_along_axis(away, nearest[None, None], axis=0)
    center = torch.zeros((1, 3, HEIGHT, WIDTH))
    for y, x, value in peaks:
        center[0, 1, y, x] = value
    return {
        "center": center,
        "offset": torch.from_numpy(offset.astype(np.float32)),
        "image_labels": torch.tensor([[0.0, 1.0, 0.0]]),
        "wsss": torch.full((1, HEIGHT, WIDTH), 2, dtype=torch.uint8),
    }


def test_a_component_is_split_by_its_centers_and_weighted_by_their_score():
    refined = refine(**one_component((15, 10, 0.9), (15, 50, 0.5)), window_px=9, cluster=False)

    assert refined.category.tolist() == [[2, 2]]
    assert refined.targets.centers_yx.tolist() == [[[15, 10], [15, 50]]]
    assert refined.scores[0].tolist() == pytest.approx([0.9, 0.5])
    assert refined.weight[0, 0, 0, [0, 29, 31, 59]].tolist() == pytest.approx([0.9, 0.9, 0.5, 0.5])
    assert refined.targets.center[0, :, 15, 10].tolist() == [0, 1, 0]
    assert refined.targets.offset[0, :, 0, 0].tolist() == [15, 10]


def test_the_release_weighs_with_the_class_probability():
    maps = one_component((15, 10, 0.8))
    logits = torch.zeros((1, 4, HEIGHT, WIDTH))  # every class has probability 1/4

    refined = refine(**maps, semantic_logits=logits, confidence="release", window_px=9, cluster=False)

    assert refined.scores.tolist() == [[pytest.approx(0.2)]]


def test_without_a_center_above_the_threshold_nothing_is_refined():
    refined = refine(**one_component((15, 10, 0.2)), cluster=False)

    assert refined.category.shape == (1, 0)
    assert not refined.targets.guidance.any()
    assert not refined.weight.any()
    assert not refined.targets.center.any()


def test_center_clustering_finds_what_the_center_map_misses():
    refined = refine(**one_component((15, 10, 0.2)), cluster=True)

    assert refined.targets.centers_yx.tolist() == [[[15, 10]]]
    assert refined.scores.tolist() == [[pytest.approx(0.2)]]
    assert refined.targets.guidance.all()


@pytest.mark.parametrize(("peaks", "kept"), [(5, 5), (6, 0)])
def test_a_component_of_too_many_instances_is_left_out(peaks: int, kept: int):
    maps = one_component(*((15, 5 + 10 * i, 0.9) for i in range(peaks)))

    refined = refine(**maps, window_px=5, cluster=False, max_per_component=5)

    assert int((refined.category > 0).sum()) == kept
    assert bool(refined.targets.guidance.any()) == (kept > 0)


def test_an_instance_without_its_peak_is_centered_on_its_component():
    maps = one_component((15, 10, 0.9), (15, 50, 0.8))
    maps["offset"][0, :, 15, 50] = torch.tensor([0.0, -40.0])  # the second peak goes to the first instance
    logits = torch.zeros((1, 4, HEIGHT, WIDTH))

    refined = refine(**maps, semantic_logits=logits, confidence="release", window_px=9, cluster=False)

    assert refined.targets.centers_yx[0, 1].tolist() == [14, 29]
    assert refined.scores[0].tolist() == pytest.approx([0.9 / 4, 1 / 4])


def test_absent_classes_are_not_refined():
    maps = one_component((15, 10, 0.9)) | {"image_labels": torch.tensor([[True, False, True]])}

    assert not refine(**maps).targets.guidance.any()


def test_given_components_change_nothing():
    maps = one_component((15, 10, 0.9), (15, 50, 0.5))
    components = Components.stack([label_components(maps["wsss"][0].numpy())])

    assert torch.equal(refine(**maps, components=components).weight, refine(**maps).weight)


def test_a_single_center_channel_gives_targets_with_one():
    maps = one_component((15, 10, 0.9))
    maps["center"] = maps["center"][:, 1:2]

    refined = refine(**maps)

    assert refined.targets.center.shape == (1, 1, HEIGHT, WIDTH)
    assert refined.category.tolist() == [[2]]


def test_images_of_a_batch_do_not_touch_each_other():
    first, second = one_component((15, 10, 0.9)), one_component((5, 5, 0.7), (20, 45, 0.6))
    both = {name: torch.cat((first[name], second[name])) for name in first}

    together = refine(**both, window_px=9)

    for image, alone in enumerate(refine(**maps, window_px=9) for maps in (first, second)):
        assert torch.equal(together.weight[image], alone.weight[0])
        assert torch.equal(together.targets.offset[image], alone.targets.offset[0])


def test_neither_memory_format_nor_precision_of_the_maps_matters():
    maps = one_component((15, 10, 0.875), (15, 50, 0.5))  # exact in bfloat16
    other = maps | {name: maps[name].bfloat16() for name in ("center", "offset")}
    other = {name: each.transpose(-1, -2).contiguous().transpose(-1, -2) for name, each in other.items()}
    other["image_labels"] = maps["image_labels"]

    plain, odd = refine(**maps, window_px=9), refine(**other, window_px=9)

    assert plain.scores.tolist() == [[0.875, 0.5]]
    assert torch.equal(odd.weight, plain.weight)
    assert torch.equal(odd.targets.offset, plain.targets.offset)


def test_points_take_the_place_of_centers():
    maps = one_component((15, 10, 0.0), (15, 50, 0.0))
    maps["wsss"][0, :, 40:] = 1
    maps["wsss"][0, 0, 0] = 255
    maps["image_labels"] = torch.tensor([[1.0, 1.0, 1.0]])
    points_yx = torch.tensor([[[15, 10], [15, 50], [-1, -1], [2, 3]]])
    category = torch.tensor([[2, 1, 0, 3]])

    refined = refine(**maps, points_yx=points_yx, points_category=category)

    expected = torch.where(maps["wsss"][0] == 1, 2, 1)
    expected[0, 0] = 0
    assert torch.equal(refined.instance[0], expected)
    assert torch.equal(refined.weight[0, 0], (expected > 0).float())
    assert refined.targets.offset[0, :, 0, 39].tolist() == [15, -29]
    # The third class has a point but no pixel: its center is drawn all the same.
    at_points = refined.targets.center[0, [1, 0, 2], [15, 15, 2], [10, 50, 3]]
    assert at_points.tolist() == [1, 1, 1]
    assert int((refined.targets.center == 1).sum()) == 3


@pytest.mark.parametrize("columns", [0, 2])
def test_a_batch_without_points_has_no_refined_labels(columns: int):
    points_yx, category = torch.full((1, columns, 2), -1), torch.zeros((1, columns), dtype=torch.long)
    refined = refine(**one_component((15, 10, 0.9)), points_yx=points_yx, points_category=category)
    assert refined.weight.sum() == refined.targets.center.sum() == refined.instance.sum() == 0


def test_arguments_that_need_each_other_are_asked_for():
    maps = one_component((15, 10, 0.9))
    with pytest.raises(ValueError, match="needs semantic_logits"):
        refine(**maps, confidence="release")
    with pytest.raises(ValueError, match="go together"):
        refine(**maps, points_yx=torch.zeros((1, 1, 2), dtype=torch.long))
