"""Center and offset maps, also against plain loops."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bestie.method.targets import Targets, center_map_from_points, render_targets, render_targets_numpy

NUM_CLASSES = 4


def random_batch(batch: int, count: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Maps of 37 x 45 px with overlapping rectangles, some with an unused last column."""
    rng = np.random.default_rng(seed)
    instance = np.zeros((batch, 37, 45), dtype=np.int64)
    category = rng.integers(1, NUM_CLASSES + 1, size=(batch, count))
    for image, number in np.ndindex(batch, count):
        top, left = rng.integers(0, 30, size=2)
        instance[image, top : top + rng.integers(1, 20), left : left + rng.integers(1, 20)] = number + 1
    category[1::2, -1:] = 0
    return torch.from_numpy(instance), torch.from_numpy(category)


def render_by_loops(instance: np.ndarray, category: np.ndarray, sigma_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Center and offset maps of one image, pixel by pixel."""
    height, width = instance.shape
    center = np.zeros((NUM_CLASSES, height, width))
    offset = np.zeros((2, height, width))
    reach = math.floor(3 * sigma_px) + 1
    for number, category_id in enumerate(category, start=1):
        pixels = np.argwhere(instance == number)
        if category_id == 0 or len(pixels) == 0:
            continue
        center_y, center_x = (int(value) for value in pixels.mean(axis=0))
        for y, x in pixels:
            offset[:, y, x] = center_y - y, center_x - x
        for y, x in np.ndindex(height, width):
            if max(abs(y - center_y), abs(x - center_x)) <= reach:
                value = math.exp(-((y - center_y) ** 2 + (x - center_x) ** 2) / (2 * sigma_px**2))
                center[category_id - 1, y, x] = max(center[category_id - 1, y, x], value)
    return center, offset


def assert_same(one: Targets, other: Targets):
    for name in ("center", "offset", "guidance", "centers_yx"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


@pytest.mark.parametrize("sigma_px", [1.0, 2.5, 6.0])
def test_maps_are_those_of_plain_loops(sigma_px: float):
    instance, category = random_batch(3, 5)
    targets = render_targets(instance, category, num_classes=NUM_CLASSES, sigma_px=sigma_px)
    for image in range(3):
        center, offset = render_by_loops(instance[image].numpy(), category[image].numpy(), sigma_px)
        np.testing.assert_allclose(targets.center[image], center, atol=1e-6)
        np.testing.assert_array_equal(targets.offset[image], offset)


def test_a_batch_is_rendered_as_its_images_one_by_one():
    instance, category = random_batch(4, 5)
    together = render_targets(instance, category, num_classes=NUM_CLASSES)
    alone = [render_targets(instance[i : i + 1], category[i : i + 1], num_classes=NUM_CLASSES) for i in range(4)]
    for name in ("center", "offset", "guidance", "centers_yx"):
        assert torch.equal(getattr(together, name), torch.cat([getattr(one, name) for one in alone]))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_every_integer_type_of_the_instance_map_gives_the_same(dtype: torch.dtype):
    instance, category = random_batch(2, 5)
    assert_same(
        render_targets(instance.to(dtype), category.to(torch.int32), num_classes=NUM_CLASSES),
        render_targets(instance, category, num_classes=NUM_CLASSES),
    )


def test_a_crop_is_rendered_as_its_copy():
    instance, category = random_batch(2, 5)
    crop = instance[:, 3:30, 5:40]
    assert_same(
        render_targets(crop, category, num_classes=NUM_CLASSES),
        render_targets(crop.contiguous(), category, num_classes=NUM_CLASSES),
    )


def test_the_labeled_region_is_the_pixels_of_used_instances():
    instance = torch.tensor([[[0, 1, 1], [0, 2, 2]]])
    targets = render_targets(instance, torch.tensor([[3, 0]]), num_classes=NUM_CLASSES)
    assert targets.guidance.tolist() == [[[[False, True, True], [False, False, False]]]]
    assert targets.centers_yx.tolist() == [[[0, 1], [-1, -1]]]
    assert not targets.offset[0, :, 1].any()


def test_an_instance_without_pixels_leaves_no_trace():
    instance = torch.zeros((1, 9, 9), dtype=torch.int64)
    targets = render_targets(instance, torch.tensor([[1, 2]]), num_classes=NUM_CLASSES)
    assert not targets.center.any()
    assert (targets.centers_yx == -1).all()


def test_no_instance_column_at_all_is_fine():
    targets = render_targets(
        torch.zeros((2, 9, 9), dtype=torch.int64), torch.zeros((2, 0), dtype=torch.int64), num_classes=3
    )
    assert targets.center.shape == (2, 3, 9, 9)
    assert not targets.center.any()
    assert not targets.guidance.any()


def test_unlabeled_offsets_are_plus_zero():
    instance = torch.zeros((1, 9, 9), dtype=torch.int64)
    targets = render_targets(instance, torch.tensor([[1]]), num_classes=1)
    assert not torch.signbit(targets.offset).any()


def test_given_centers_serve_for_both_maps():
    instance, category = random_batch(2, 3)
    points = torch.tensor([[[4, 4], [20, 9], [30, 40]], [[8, 1], [2, 2], [-1, -1]]])
    targets = render_targets(instance, category, num_classes=NUM_CLASSES, centers_yx=points)
    y, x = (instance[0] == 2).nonzero()[0].tolist()
    assert targets.offset[0, :, y, x].tolist() == [20 - y, 9 - x]
    for (py, px), category_id in zip(points[0].tolist(), category[0].tolist(), strict=True):
        assert targets.center[0, category_id - 1, py, px] == 1
    assert targets.centers_yx[1, 2].tolist() == [-1, -1]
    assert not targets.guidance[1, 0][instance[1] == 3].any()


def test_the_class_agnostic_map_is_the_maximum_over_the_classes():
    instance, category = random_batch(3, 5)
    class_wise = render_targets(instance, category, num_classes=NUM_CLASSES)
    agnostic = render_targets(instance, category, num_classes=NUM_CLASSES, class_wise=False)
    assert torch.equal(agnostic.center, class_wise.center.amax(dim=1, keepdim=True))
    assert torch.equal(agnostic.offset, class_wise.offset)


def test_points_outside_the_map_and_points_without_category_are_not_drawn():
    points = torch.tensor([[[-1, 3], [3, 9], [9, 3], [4, 4]]])
    category = torch.tensor([[1, 1, 1, 0]])
    assert not center_map_from_points(points, category, height=9, width=9, num_classes=2).any()


def test_numpy_gives_what_torch_gives():
    instance, category = random_batch(1, 5)
    arrays = render_targets_numpy(instance[0].numpy().astype(np.uint16), category[0].numpy(), num_classes=NUM_CLASSES)
    targets = render_targets(instance, category, num_classes=NUM_CLASSES)
    for name in ("center", "offset", "guidance", "centers_yx"):
        np.testing.assert_array_equal(getattr(arrays, name), getattr(targets, name)[0])


def test_numpy_refuses_ids_without_category_and_categories_without_channel():
    instance = np.array([[0, 1], [2, 2]], dtype=np.uint16)
    with pytest.raises(ValueError, match="instance id 2"):
        render_targets_numpy(instance, np.array([1]), num_classes=3)
    with pytest.raises(ValueError, match="category_id 4"):
        render_targets_numpy(instance, np.array([1, 4]), num_classes=3)


def test_torch_refuses_ids_without_category_and_categories_without_channel():
    instance = torch.tensor([[[0, 1], [2, 2]]])
    with pytest.raises(RuntimeError, match="out of bounds"):
        render_targets(instance, torch.tensor([[1]]), num_classes=3)
    with pytest.raises(RuntimeError, match="out of bounds"):
        render_targets(instance, torch.tensor([[1, 4]]), num_classes=3)


def test_nothing_is_read_back_from_the_device():
    """On the meta device, which holds no values, reading one raises."""
    instance = torch.empty((2, 37, 45), dtype=torch.int64, device="meta")
    category = torch.empty((2, 6), dtype=torch.int64, device="meta")
    targets = render_targets(instance, category, num_classes=NUM_CLASSES)
    assert targets.center.shape == (2, NUM_CLASSES, 37, 45)
    with pytest.raises((RuntimeError, NotImplementedError)):
        targets.center.sum().item()


class CountedCalls(TorchDispatchMode):
    """Counts the operations that torch runs."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_the_number_of_operations_does_not_grow_with_the_number_of_instances():
    counts = set()
    for batch, instances in [(1, 1), (2, 5), (4, 40)]:
        instance, category = random_batch(batch, instances)
        with CountedCalls() as calls:
            render_targets(instance, category, num_classes=NUM_CLASSES)
        counts.add(calls.count)
    assert len(counts) == 1
    assert 0 < counts.pop() < 150
