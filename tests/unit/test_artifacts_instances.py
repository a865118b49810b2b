"""Instance rows agree with their masks; the RLE is COCO's."""

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as reference

from bestie.artifacts.instances import MAX_INSTANCES, cue_rows, decode_mask, encode_mask, instance_map, instance_rows
from bestie.errors import InputError
from bestie.records import ImageRecord, Point

RECORD = ImageRecord(7, "img", "train", "img.jpg", 4, 6, "00", ())


def box_mask(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((4, 6), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_rle_area_and_box_agree_with_pycocotools() -> None:
    rng = np.random.default_rng(0)
    for density in (0.01, 0.3, 0.9):
        mask = rng.random((37, 53)) < density
        expected = reference.encode(np.asfortranarray(mask, dtype=np.uint8))
        assert encode_mask(mask) == expected["counts"].decode()
        record = ImageRecord(0, "a", "train", "a.jpg", 37, 53, "00", ())
        (row,) = instance_rows(record, [mask], [1])
        assert row["area_px"] == reference.area(expected)
        assert row["bbox_xywh"] == reference.toBbox(expected).tolist()


def test_malformed_counts_are_refused() -> None:
    for rle, height in ((encode_mask(box_mask(0, 0, 2, 2)), 5), ("zzzz", 4), ("", 4)):
        with pytest.raises(ValueError, match=f"codes no mask of {height}x6"):
            decode_mask(rle, height, 6)


def test_an_instance_map_holds_the_id_of_the_uppermost_mask() -> None:
    rles = [encode_mask(box_mask(0, 0, 2, 3)), encode_mask(box_mask(1, 2, 3, 5))]
    instance = instance_map(RECORD, np.array([4, 2], np.int32), rles, source=Path("t.parquet"))
    assert instance.tolist() == [[4, 4, 4, 0, 0, 0], [4, 4, 2, 2, 2, 0], [0, 0, 2, 2, 2, 0], [0] * 6]


def test_an_instance_id_that_no_map_can_hold_is_refused() -> None:
    with pytest.raises(InputError, match=r"t\.parquet has an instance_id above 65535 in image img"):
        instance_map(
            RECORD, np.array([MAX_INSTANCES + 1]), [encode_mask(box_mask(0, 0, 1, 1))], source=Path("t.parquet")
        )


def test_a_row_holds_ids_box_center_and_defaults() -> None:
    rows = instance_rows(RECORD, (box_mask(1, 2, 3, 5) for _ in range(2)), [3, 4])
    assert [row["instance_id"] for row in rows] == [1, 2]
    assert rows[1] == {
        "image_id": "img",
        "row": 7,
        "instance_id": 2,
        "category_id": 4,
        "score": 1.0,
        "area_px": 6,
        "bbox_xywh": [2.0, 1.0, 3.0, 2.0],
        "center_y": 1.5,
        "center_x": 3.0,
        "is_crowd": False,
        "rle": encode_mask(box_mask(1, 2, 3, 5)),
    }


def test_given_scores_centers_and_crowds_are_kept() -> None:
    (row,) = instance_rows(
        RECORD,
        [box_mask(0, 0, 1, 1)],
        np.array([3]),
        scores=np.array([0.25]),
        centers_yx=np.array([[2.0, 5.0]]),
        is_crowd=[True],
    )
    assert (row["score"], row["center_y"], row["center_x"], row["is_crowd"]) == (0.25, 2.0, 5.0, True)


def test_empty_foreign_and_missing_masks_are_refused() -> None:
    with pytest.raises(ValueError, match="empty mask for image img"):
        instance_rows(RECORD, [np.zeros((4, 6), bool)], [1])
    with pytest.raises(ValueError, match=r"\(3, 6\) for image img"):
        instance_rows(RECORD, [np.ones((3, 6), bool)], [1])
    with pytest.raises(ValueError, match="longer"):
        instance_rows(RECORD, [], [1])


def test_cue_rows_keep_y_and_x_apart() -> None:
    assert cue_rows(RECORD, [Point(2, y=1.0, x=5.0, score=0.5)]) == [
        {"image_id": "img", "row": 7, "category_id": 2, "y": 1.0, "x": 5.0, "score": 0.5}
    ]
