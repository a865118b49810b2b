"""Instances of images as rows of tables, and true semantic maps without void."""

import numpy as np
import torch

from bestie.artifacts.instances import decode_mask
from bestie.evaluation.true_maps import fill_void
from bestie.method.backbones import create_backbone
from bestie.method.network import BestieNetwork, Outputs
from bestie.params.map_reading import Grouping, MapReading
from bestie.prediction.network_predictor import NetworkPredictor, table_rows
from bestie.records import ImageRecord

RECORD = ImageRecord(3, "a", "val", "a.jpg", 20, 40, "0" * 64, (1,))
GROUPING = Grouping(window_px=9, threshold=0.1)


def outputs() -> Outputs:
    """Class 1 on the left half, class 2 at the top right; a center in each, and a weak one."""
    semantic = torch.zeros(1, 3, 20, 40)
    semantic[:, 1, :, :20] = 9
    semantic[:, 2, :10, 30:] = 9
    semantic[:, 0] += 1
    center = torch.zeros(1, 2, 20, 40)
    center[0, 0, 10, 3], center[0, 0, 10, 16], center[0, 1, 5, 35] = 0.8, 0.3, 0.6
    return Outputs(semantic, center, torch.zeros(1, 2, 20, 40))


def group(maps: Outputs | None = None, *, min_area_px: int = 16, semantic: np.ndarray | None = None, **options: object):
    reading = MapReading(grouping=GROUPING, min_area_px=min_area_px)
    network = BestieNetwork(create_backbone("test_resnet"), num_classes=2, width=8)
    predictor = NetworkPredictor(network, reading, num_classes=2, device=torch.device("cpu"), **options)
    return predictor.instances(maps or outputs(), RECORD, semantic=semantic)


def test_rows_describe_the_instances():
    found = group(confidence="center")
    rows = table_rows(RECORD, found)
    assert [(row["row"], row["image_id"], row["instance_id"], row["category_id"]) for row in rows] == [
        (3, "a", 1, 1),
        (3, "a", 2, 1),
        (3, "a", 3, 2),
    ]
    assert [round(row["score"], 3) for row in rows] == [0.8, 0.3, 0.6]
    assert (rows[0]["center_y"], rows[0]["center_x"]) == (10, 3)
    for number, row in enumerate(rows, start=1):
        np.testing.assert_array_equal(decode_mask(row["rle"], 20, 40), found.instance == number)


def test_a_least_score_drops_rows_but_no_mask_moves():
    found = group(confidence="center")
    rows = table_rows(RECORD, found, min_score=0.5)
    assert [row["category_id"] for row in rows] == [1, 2]
    np.testing.assert_array_equal(decode_mask(rows[1]["rle"], 20, 40), found.instance == 3)


def test_an_instance_whose_center_value_is_negative_stays_with_score_0():
    maps = outputs()
    maps.center[0, 1] = -0.2
    found = group(maps, confidence="center")
    assert [round(row["score"], 3) for row in table_rows(RECORD, found)] == [0.8, 0.3, 0.0]
    assert len(table_rows(RECORD, found, min_score=0.01)) == 2


def test_image_labels_rule_out_other_classes():
    assert set(group(use_image_labels=True).category_id.tolist()) == {1}


def test_a_given_semantic_map_replaces_the_predicted_one():
    semantic = np.zeros((20, 40), np.uint8)
    semantic[:, :20] = 2
    found = group(semantic=semantic)
    assert found.category_id.tolist() == [2]
    np.testing.assert_array_equal(found.semantic, semantic)


def test_small_instances_are_dropped():
    found = group(min_area_px=150)
    assert set(found.category_id.tolist()) == {1}


def test_void_becomes_the_nearest_label():
    semantic = np.full((20, 40), 255, np.uint8)
    semantic[5:8, :10], semantic[:, 30:] = 1, 2
    filled = fill_void(semantic)
    assert filled is not None
    assert set(np.unique(filled)) == {1, 2}
    np.testing.assert_array_equal(filled[semantic != 255], semantic[semantic != 255])
    assert (filled[6, 12], filled[6, 28]) == (1, 2)


def test_a_map_of_void_alone_is_none():
    assert fill_void(np.full((20, 40), 255, np.uint8)) is None
