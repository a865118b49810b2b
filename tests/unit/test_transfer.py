"""Which components become pseudo instances, also against a reference with SciPy's labels."""

import numpy as np
import pytest
from scipy import ndimage

from bestie.method.transfer import Transfer, transfer


def run(semantic: np.ndarray, cues: list[tuple[int, int, int, float]], present: list[int], **options) -> Transfer:
    """`transfer` with cues as (y, x, category_id, score) and the category_ids in the image, of five."""
    table = np.array(cues, dtype=np.float64).reshape(-1, 4)
    return transfer(
        semantic,
        table[:, :2].astype(np.int64),
        table[:, 2].astype(np.int64),
        table[:, 3].astype(np.float32),
        np.isin(np.arange(1, 6), present),
        **options,
    )


def map_with(*rectangles: tuple[int, int, int, int, int]) -> np.ndarray:
    """A 40 x 50 semantic map with rectangles (category_id, top, left, height, width)."""
    semantic = np.zeros((40, 50), dtype=np.uint8)
    for category_id, top, left, height, width in rectangles:
        semantic[top : top + height, left : left + width] = category_id
    return semantic


def test_a_component_with_one_cue_is_an_instance():
    result = run(map_with((2, 5, 10, 8, 9)), [(6, 12, 2, 0.75)], present=[2])
    np.testing.assert_array_equal(result.instance, map_with((1, 5, 10, 8, 9)))
    instances = result.instances
    assert instances.category_id.tolist() == [2]
    assert instances.center_yx.tolist() == [[8, 14]]
    assert instances.area_px.tolist() == [72]
    assert instances.bbox_xywh.tolist() == [[10, 5, 9, 8]]
    assert instances.score.tolist() == [0.75]


def test_every_component_is_listed_with_the_reason():
    semantic = map_with((1, 0, 0, 10, 10), (1, 0, 20, 10, 10), (3, 20, 0, 10, 10), (3, 20, 20, 7, 7))
    cues = [(5, 5, 1, 0.9), (2, 22, 1, 0.8), (3, 27, 1, 0.7), (22, 22, 3, 0.6)]
    components = run(semantic, cues, present=[1, 3]).components
    assert components.category_id.tolist() == [1, 1, 3, 3]
    assert components.status.tolist() == ["accepted", "several_cues", "no_cue", "too_small"]
    assert components.n_cues.tolist() == [1, 2, 0, 1]
    assert components.area_px.tolist() == [100, 100, 100, 49]
    assert components.instance_id.tolist() == [1, 0, 0, 0]
    assert components.bbox_xywh[3].tolist() == [20, 20, 7, 7]


def test_a_component_of_the_minimum_area_is_accepted():
    semantic, cues = map_with((1, 3, 3, 5, 10)), [(4, 4, 1, 0.9)]
    assert run(semantic, cues, present=[1], min_area_px=50).components.status.tolist() == ["accepted"]
    assert run(semantic, cues, present=[1], min_area_px=51).components.status.tolist() == ["too_small"]


def test_cues_of_other_classes_do_not_count():
    result = run(map_with((1, 0, 0, 10, 10)), [(5, 5, 1, 0.9), (6, 6, 2, 0.9)], present=[1, 2])
    assert result.components.n_cues.tolist() == [1]


def test_classes_that_are_not_in_the_image_are_left_out():
    result = run(map_with((1, 0, 0, 10, 10), (4, 20, 20, 10, 10)), [(5, 5, 1, 0.9)], present=[4])
    assert result.components.category_id.tolist() == [4]
    assert not result.instance.any()


def test_void_is_no_component():
    result = run(map_with((255, 0, 0, 10, 10)), [(5, 5, 1, 0.9)], present=[1, 2, 3, 4, 5])
    assert len(result.components.status) == 0


def test_pixels_that_touch_at_a_corner_are_one_component():
    result = run(map_with((1, 0, 0, 8, 8), (1, 8, 8, 8, 8)), [(5, 5, 1, 0.9)], present=[1])
    assert result.components.area_px.tolist() == [128]


def test_an_image_without_labels_or_cues_has_no_instance():
    result = run(map_with((1, 0, 0, 10, 10)), [], present=[])
    assert len(result.instances.score) == len(result.components.status) == 0
    assert result.instances.center_yx.shape == (0, 2)
    assert result.instances.bbox_xywh.shape == (0, 4)
    assert not result.instance.any()


@pytest.mark.parametrize("yx", [(40, 0), (0, 50), (-1, 0)])
def test_a_cue_outside_the_map_is_refused(yx: tuple[int, int]):
    with pytest.raises(ValueError, match="outside the 40 x 50 map"):
        run(map_with(), [(*yx, 1, 0.9)], present=[1])


@pytest.mark.parametrize("seed", range(5))
def test_masks_are_those_of_a_plain_reference(seed: int):
    rng = np.random.default_rng(seed)
    coarse = rng.choice([0, 1, 2, 255], size=(10, 14)).astype(np.uint8)
    semantic = coarse.repeat(5, axis=0).repeat(5, axis=1)
    cues = [
        (int(rng.integers(50)), int(rng.integers(70)), int(rng.integers(1, 4)), float(rng.random())) for _ in range(25)
    ]
    expected = set()
    for category_id in (1, 2):
        label, count = ndimage.label(semantic == category_id, structure=np.ones((3, 3)))
        for number in range(1, count + 1):
            mask = label == number
            hits = [score for y, x, category, score in cues if category == category_id and mask[y, x]]
            if mask.sum() >= 50 and len(hits) == 1:
                center = tuple(int(value) for value in ndimage.center_of_mass(mask))
                expected.add((category_id, mask.tobytes(), center, np.float32(hits[0])))

    result = run(semantic, cues, present=[1, 2])

    table = result.instances
    found = {
        (category_id, (result.instance == number).tobytes(), tuple(center), score)
        for number, (category_id, center, score) in enumerate(
            zip(table.category_id.tolist(), table.center_yx.tolist(), table.score, strict=True), start=1
        )
    }
    assert expected
    assert found == expected
