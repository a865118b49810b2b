"""Network output to instances: scores, given semantic maps, flip averaging, and the baseline."""

import numpy as np
import pytest
import torch

from bestie.method.inference import average_with_flip, components_as_instances, predict_instances

HEIGHT, WIDTH = 20, 40


def maps_of(semantic: torch.Tensor, *peaks: tuple[int, int, int, float]) -> dict[str, torch.Tensor]:
    """Logits that say `semantic`, center peaks (category_id, y, x, value), no offsets."""
    shown = torch.where(semantic == 255, 0, semantic).long()
    center = torch.zeros((1, 2, HEIGHT, WIDTH))
    for category_id, y, x, value in peaks:
        center[0, category_id - 1, y, x] = value
    return {
        "semantic_logits": torch.nn.functional.one_hot(shown, 3).permute(0, 3, 1, 2) * 20.0,
        "center": center,
        "offset": torch.zeros((1, 2, HEIGHT, WIDTH)),
    }


def two_objects() -> torch.Tensor:
    semantic = torch.zeros((1, HEIGHT, WIDTH), dtype=torch.uint8)
    semantic[..., :20] = 1
    semantic[:, :10, 30:] = 2
    return semantic


def test_each_center_gives_an_instance_with_the_pixels_near_it():
    (found,) = predict_instances(**maps_of(two_objects(), (1, 10, 3, 0.8), (1, 10, 16, 0.6)), window_px=9)

    assert found.category_id.tolist() == [1, 1, 2]
    assert found.score.tolist() == pytest.approx([0.8, 0.6, 0.0], abs=1e-6)
    assert found.center_yx[:2].tolist() == [[10, 3], [10, 16]]
    assert found.instance[10, [0, 9, 10, 19, 25, 35]].tolist() == [1, 1, 2, 2, 0, 0]
    assert found.masks.sum(axis=(1, 2)).tolist() == [200, 200, 100]


def test_a_component_without_center_is_dropped_on_demand():
    maps = maps_of(two_objects(), (1, 10, 3, 0.8), (2, 5, 35, 0.05))

    (kept,) = predict_instances(**maps)
    (dropped,) = predict_instances(**maps, drop_components_without_center=True)

    assert kept.score.tolist() == pytest.approx([0.8, 0.05], abs=1e-6)  # scored by its largest center value
    assert dropped.category_id.tolist() == [1]


def test_confidence_is_the_center_alone_or_with_the_class_probability():
    maps = maps_of(two_objects(), (1, 10, 3, 0.8), (2, 5, 35, 0.5))
    maps["semantic_logits"] /= 20  # probability e / (e + 2)

    (center,) = predict_instances(**maps, confidence="center")
    (product,) = predict_instances(**maps, confidence="product")
    (alone,) = predict_instances(**maps, confidence="probability")

    probability = np.e / (np.e + 2)
    assert center.score.tolist() == pytest.approx([0.8, 0.5])
    assert product.score.tolist() == pytest.approx([0.8 * probability, 0.5 * probability])
    assert alone.score.tolist() == pytest.approx([probability, probability])


def test_a_center_value_above_1_counts_as_1_but_not_in_the_release():
    maps = maps_of(two_objects(), (1, 10, 3, 1.2), (2, 5, 35, 0.5))
    maps["semantic_logits"] /= 20
    probability = np.e / (np.e + 2)
    first = {how: predict_instances(**maps, confidence=how)[0].score[0] for how in ("center", "product", "release")}
    assert first == pytest.approx({"center": 1, "product": probability, "release": probability**2})


def test_a_given_semantic_map_replaces_the_argmax_and_its_void_is_empty():
    given = torch.zeros((1, HEIGHT, WIDTH), dtype=torch.uint8)
    given[..., :8], given[..., 8:10] = 2, 255

    (found,) = predict_instances(**maps_of(two_objects(), (2, 4, 4, 0.9)), semantic=given)

    assert found.category_id.tolist() == [2]
    np.testing.assert_array_equal(found.instance > 0, given[0] == 2)
    np.testing.assert_array_equal(found.semantic, given[0])


def test_image_labels_suppress_absent_classes():
    labels = torch.tensor([[False, True]])

    (found,) = predict_instances(**maps_of(two_objects()), image_labels=labels)

    assert found.category_id.tolist() == [2]
    assert set(np.unique(found.semantic)) == {0, 2}


def test_an_empty_image_has_no_instances_and_harms_no_other():
    maps = maps_of(two_objects(), (1, 10, 3, 0.8))
    empty = maps_of(torch.zeros((1, HEIGHT, WIDTH), dtype=torch.uint8))
    batch = {name: torch.cat((empty[name], maps[name])) for name in maps}

    nothing, found = predict_instances(**batch)
    (alone,) = predict_instances(**empty)

    assert len(nothing.category_id) == len(alone.category_id) == 0
    assert nothing.masks.shape == (0, HEIGHT, WIDTH)
    assert found.category_id.tolist() == [1, 2]


def test_averaging_with_the_flip_changes_nothing_for_a_network_that_does_not_care():
    generator = torch.Generator().manual_seed(0)
    outputs = tuple(torch.randn((2, channels, 6, 8), generator=generator) for channels in (4, 3, 2))
    mirror = torch.tensor([1.0, -1.0])[:, None, None]
    flipped = (outputs[0].flip(-1), outputs[1].flip(-1), outputs[2].flip(-1) * mirror)

    semantic, center, offset = average_with_flip(outputs, flipped)

    np.testing.assert_allclose(semantic.softmax(1), outputs[0].softmax(1), atol=1e-6)
    np.testing.assert_allclose(center, outputs[1], atol=1e-6)
    np.testing.assert_allclose(offset, outputs[2], atol=1e-6)


def test_averaging_with_the_flip_averages_probabilities():
    generator = torch.Generator().manual_seed(1)
    outputs = tuple(torch.randn((1, channels, 6, 8), generator=generator) for channels in (4, 3, 2))
    flipped = tuple(torch.randn((1, channels, 6, 8), generator=generator) for channels in (4, 3, 2))

    semantic, center, offset = average_with_flip(outputs, flipped)

    expected = (outputs[0].softmax(1) + flipped[0].flip(-1).softmax(1)) / 2
    np.testing.assert_allclose(semantic.softmax(1), expected, atol=1e-6)
    np.testing.assert_allclose(center, (outputs[1] + flipped[1].flip(-1)) / 2, atol=1e-6)
    np.testing.assert_allclose(offset[:, 1], (outputs[2][:, 1] - flipped[2][:, 1].flip(-1)) / 2, atol=1e-6)


def test_the_baseline_takes_components_as_instances():
    semantic = two_objects()[0].numpy()
    semantic[15:17, 30:32] = 2  # too small
    probability = np.where(semantic == 1, 0.75, 0.5)

    found = components_as_instances(semantic, probability=probability)

    assert found.category_id.tolist() == [1, 2]
    assert found.score.tolist() == pytest.approx([0.75, 0.5])
    assert found.center_yx.tolist() == [[9.5, 9.5], [4.5, 34.5]]
    assert found.masks.sum(axis=(1, 2)).tolist() == [400, 100]
    assert components_as_instances(semantic).score.tolist() == [1.0, 1.0]
