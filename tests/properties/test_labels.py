"""Properties of every instance map and semantic map: inverses and symmetries of cues and labels."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bestie.method.cues import find_cues, smooth
from bestie.method.targets import render_targets
from bestie.method.transfer import Transfer, transfer

NUM_INSTANCES, NUM_CLASSES = 4, 3
MAP_SHAPE = st.tuples(st.integers(1, 12), st.integers(1, 12))

instance_maps = MAP_SHAPE.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(0, NUM_INSTANCES))).map(
    torch.from_numpy
)
categories = arrays(np.int64, (NUM_INSTANCES,), elements=st.integers(0, NUM_CLASSES)).map(torch.from_numpy)
semantic_maps = MAP_SHAPE.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 3, 255])))
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=40, deadline=None)


def render(instance, category, **options):
    return render_targets(instance[None], category[None], num_classes=NUM_CLASSES, sigma_px=0.7, **options)


@few
@given(instance_maps, categories)
def test_every_labeled_pixel_points_at_the_center_of_its_instance(instance, category):
    targets = render(instance, category)
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in instance.shape), indexing="ij")
    pointed_yx = (targets.offset[0] + torch.stack((rows, columns))).permute(1, 2, 0)
    labeled = (instance > 0) & (torch.nn.functional.pad(category, (1, 0))[instance] > 0)
    assert torch.equal(targets.guidance[0, 0], labeled)
    assert torch.equal(pointed_yx[labeled], targets.centers_yx[0][instance[labeled] - 1].to(pointed_yx.dtype))
    assert not targets.offset[0][:, ~labeled].any()


@few
@given(instance_maps, categories)
def test_the_center_map_is_one_at_the_centers_alone_and_never_beyond_zero_to_one(instance, category):
    targets = render(instance, category)
    peaks = {(channel, y, x) for channel, y, x in (targets.center[0] == 1).nonzero().tolist()}
    centers = targets.centers_yx[0].tolist()
    used = [(c - 1, *yx) for c, yx in zip(category.tolist(), centers, strict=True) if yx != [-1, -1]]
    assert peaks == set(used)
    assert targets.center.min() >= 0
    assert targets.center.max() <= 1


@few
@given(instance_maps, categories, st.permutations(range(NUM_INSTANCES)))
def test_renumbering_the_instances_changes_no_map(instance, category, order):
    new_id = torch.tensor([0, *(order.index(old) + 1 for old in range(NUM_INSTANCES))])
    before = render(instance, category)
    after = render(new_id[instance], category[torch.tensor(order)])
    assert torch.equal(before.center, after.center)
    assert torch.equal(before.offset, after.offset)
    assert torch.equal(before.guidance, after.guidance)


@few
@given(instance_maps, categories, st.permutations(range(NUM_CLASSES)))
def test_renaming_the_classes_permutes_the_center_channels(instance, category, order):
    new_category = torch.tensor([0, *(order.index(old) + 1 for old in range(NUM_CLASSES))])
    before, after = render(instance, category), render(instance, new_category[category])
    assert torch.equal(before.center[:, order], after.center)
    assert torch.equal(before.offset, after.offset)


@few
@given(instance_maps, categories, st.integers(0, 5), st.integers(0, 5))
def test_shifting_the_instances_shifts_the_maps(instance, category, down, right):
    margin = 4  # wider than the gaussian reaches, so that no border cuts one
    before = render(torch.nn.functional.pad(instance, (margin, margin + 5, margin, margin + 5)), category)
    shifted = (margin + right, margin + 5 - right, margin + down, margin + 5 - down)
    after = render(torch.nn.functional.pad(instance, shifted), category)
    assert torch.equal(before.center.roll((down, right), dims=(2, 3)), after.center)
    assert torch.equal(before.offset.roll((down, right), dims=(2, 3)), after.offset)


@few
@given(instance_maps, categories, seeds, st.booleans())
def test_flipping_instances_and_centers_flips_the_maps(instance, category, seed, upside_down):
    rng = np.random.default_rng(seed)
    size = torch.tensor(instance.shape)
    centers_yx = torch.from_numpy(rng.integers((0, 0), instance.shape, size=(NUM_INSTANCES, 2)))
    axis = 0 if upside_down else 1
    flipped_yx = centers_yx.clone()
    flipped_yx[:, axis] = size[axis] - 1 - centers_yx[:, axis]
    before = render(instance, category, centers_yx=centers_yx[None])
    after = render(instance.flip(axis), category, centers_yx=flipped_yx[None])
    sign = torch.ones((2, 1, 1))
    sign[axis] = -1
    assert torch.equal(before.center.flip(axis + 2), after.center)
    assert torch.equal(before.offset.flip(axis + 2) * sign, after.offset)


@few
@given(MAP_SHAPE, seeds, st.booleans())
def test_flipping_activations_flips_the_cues(shape, seed, upside_down):
    """The values are distinct: which of equal ones stays at the limit depends on the order of pixels."""
    values = np.random.default_rng(seed).permutation(2 * shape[0] * shape[1]) + 1
    maps = (values / values.size).astype(np.float32).reshape(2, *shape)
    axis = 1 if upside_down else 2
    before = find_cues(maps, window_px=3, threshold=0.2, max_per_class=3)
    after = find_cues(np.ascontiguousarray(np.flip(maps, axis)), window_px=3, threshold=0.2, max_per_class=3)
    y = shape[0] - 1 - after.y if upside_down else after.y
    x = after.x if upside_down else shape[1] - 1 - after.x
    np.testing.assert_array_equal(before.score, after.score)
    np.testing.assert_array_equal(np.stack((before.y, before.x)), np.stack((y, x)))


@few
@given(MAP_SHAPE, seeds)
def test_permuting_the_channels_permutes_the_cues(shape, seed):
    maps = smooth(np.random.default_rng(seed).random((3, *shape), dtype=np.float32))
    before = find_cues(maps, window_px=3, threshold=0.1)
    after = find_cues(maps[[2, 0, 1]], window_px=3, threshold=0.1)
    for new, old in enumerate([2, 0, 1]):
        np.testing.assert_array_equal(before.y[before.channel == old], after.y[after.channel == new])
        np.testing.assert_array_equal(before.score[before.channel == old], after.score[after.channel == new])


def random_cues(shape: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Up to 12 cues: (y, x), category_id and score."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(13))
    yx = rng.integers((0, 0), shape, size=(count, 2))
    return yx, rng.integers(1, NUM_CLASSES + 1, size=count), rng.random(count, dtype=np.float32)


def as_set(result: Transfer) -> set[tuple[int, bytes, float]]:
    """The pseudo instances without their numbering."""
    rows = zip(result.instances.category_id.tolist(), result.instances.score.tolist(), strict=True)
    return {(c, (result.instance == i).tobytes(), score) for i, (c, score) in enumerate(rows, start=1)}


@few
@given(semantic_maps, seeds, st.permutations(range(NUM_CLASSES)))
def test_renaming_the_classes_renames_the_pseudo_instances(semantic, seed, order):
    cues_yx, category, score = random_cues(semantic.shape, seed)
    present = np.random.default_rng(seed).random(NUM_CLASSES) < 0.7
    new_value = np.arange(256, dtype=np.uint8)
    new_value[1 : NUM_CLASSES + 1] = [order.index(old) + 1 for old in range(NUM_CLASSES)]
    before = transfer(semantic, cues_yx, category, score, present, min_area_px=2)
    after = transfer(
        new_value[semantic],
        cues_yx,
        new_value[category].astype(np.int64),
        score,
        present[np.array(order)],
        min_area_px=2,
    )
    assert {(int(new_value[c]), mask, s) for c, mask, s in as_set(before)} == as_set(after)


@few
@given(semantic_maps, seeds, st.booleans())
def test_flipping_the_semantic_map_flips_the_pseudo_instances(semantic, seed, upside_down):
    cues_yx, category, score = random_cues(semantic.shape, seed)
    axis = 0 if upside_down else 1
    flipped_yx = cues_yx.copy()
    flipped_yx[:, axis] = semantic.shape[axis] - 1 - cues_yx[:, axis]
    flipped = np.ascontiguousarray(np.flip(semantic, axis))
    present = np.ones(NUM_CLASSES, dtype=bool)
    before = transfer(semantic, cues_yx, category, score, present, min_area_px=2)
    after = transfer(flipped, flipped_yx, category, score, present, min_area_px=2)
    rows = zip(after.instances.category_id.tolist(), after.instances.score.tolist(), strict=True)
    flipped_back = {(c, np.flip(after.instance == i, axis).tobytes(), s) for i, (c, s) in enumerate(rows, start=1)}
    assert as_set(before) == flipped_back


@few
@given(semantic_maps, seeds)
def test_a_second_cue_costs_an_instance_its_label_and_no_other_one(semantic, seed):
    cues_yx, category, score = random_cues(semantic.shape, seed)
    present = np.ones(NUM_CLASSES, dtype=bool)
    before = transfer(semantic, cues_yx, category, score, present, min_area_px=1)
    for number in range(1, len(before.instances.score) + 1):
        pixel = np.argwhere(before.instance == number)[:1]
        after = transfer(
            semantic,
            np.concatenate((cues_yx, pixel)),
            np.append(category, before.instances.category_id[number - 1]),
            np.append(score, np.float32(0.5)),
            present,
            min_area_px=1,
        )
        np.testing.assert_array_equal(after.instance > 0, (before.instance > 0) & (before.instance != number))
