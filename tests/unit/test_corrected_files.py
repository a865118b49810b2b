"""What other tools write of three masks, as their own packages wrote it, is read as these masks."""

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from bestie.datasets.corrected_labels import read_corrected
from bestie.metrics.masks import mask_iou
from bestie.records import Category, ImageRecord

HEIGHT, WIDTH = 40, 50
CLASSES = [Category(1, "cat", 1), Category(2, "dog", 2)]
RECORD = ImageRecord(
    row=0, image_id="a", split="train", path="a.jpg", height=HEIGHT, width=WIDTH, sha256="0" * 64, labels=(1, 2)
)
# fmt: off
#: datumaro 1.13.12, CVAT's library: Dataset.export(..., "coco_instances") of instance masks.
DATUMARO = {
    "licenses": [{"name": "", "id": 0, "url": ""}],
    "info": {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
    "categories": [
        {"id": 1, "name": "cat", "supercategory": ""},
        {"id": 2, "name": "dog", "supercategory": ""},
    ],
    "images": [{"id": 1, "width": 50, "height": 40, "file_name": "a.jpg", "license": 0, "date_captured": 0}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "area": 253.0,
            "bbox": [5.0, 3.0, 19.0, 19.0],
            "iscrowd": 1,
            "segmentation": {
                "size": [40, 50],
                "counts": [212, 1, 35, 9, 30, 11, 28, 13, 26, 15, 24, 17, 23, 17, 23, 17, 23, 17,
                    22, 19, 22, 17, 23, 17, 23, 17, 23, 17, 24, 15, 26, 13, 28, 11, 30, 9, 35, 1,
                    1067],
            },
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 1,
            "area": 350.0,
            "bbox": [5.0, 22.0, 25.0, 14.0],
            "iscrowd": 1,
            "segmentation": {"size": [40, 50], "counts": [222, *[14, 26] * 24, 14, 804]},
        },
        {
            "id": 3,
            "image_id": 1,
            "category_id": 2,
            "area": 173.0,
            "bbox": [32.0, 4.0, 14.0, 26.0],
            "iscrowd": 1,
            "segmentation": {
                "size": [40, 50],
                "counts": [1290, 1, 36, 7, 32, 9, 30, 11, 29, 11, 8, 6, 15, 11, 8, 6, 14, 13, 7, 6,
                    15, 11, 8, 6, 15, 11, 8, 6, 15, 11, 8, 6, 16, 9, 9, 6, 17, 7, 10, 6, 20, 1, 13,
                    6, 34, 6, 170],
            },
        },
    ],
}
#: FiftyOne 1.22.1: COCOObject.from_label(detection, metadata, tolerance=1).to_anno_dict() of the same masks.
FIFTYONE = {
    "categories": [{"id": 0, "name": "cat", "supercategory": None}, {"id": 1, "name": "dog", "supercategory": None}],
    "images": [{"id": 1, "file_name": "a.jpg", "height": 40, "width": 50, "license": None, "coco_url": None}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 0,
            "bbox": [5.0, 3.0, 19.0, 19.0],
            "area": 361.0,
            "iscrowd": 0,
            "segmentation": [
                [14.0, 20.5, 10.0, 19.5, 5.5, 15.0, 5.5, 8.0, 10.0, 3.5, 14.0, 2.5, 18.0, 3.5, 22.5,
                    8.0, 22.5, 15.0, 18.0, 19.5, 14.0, 20.5]
            ],
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 0,
            "bbox": [5.0, 22.0, 25.0, 14.0],
            "area": 350.0,
            "iscrowd": 0,
            "segmentation": [[29.0, 35.5, 5.0, 35.5, 4.5, 22.0, 29.0, 21.5, 29.0, 35.5]],
        },
        {
            "id": 3,
            "image_id": 1,
            "category_id": 1,
            "bbox": [32.0, 4.0, 14.000000000000002, 26.0],
            "area": 364.00000000000006,
            "iscrowd": 0,
            "segmentation": [
                [38.0, 16.5, 35.0, 15.5, 31.5, 10.0, 32.5, 7.0, 38.0, 3.5, 41.5, 5.0, 44.5, 10.0,
                    43.5, 13.0, 38.0, 16.5],
                [45.0, 29.5, 36.0, 29.5, 35.5, 24.0, 45.0, 23.5, 45.0, 29.5],
            ],
        },
    ],
}
# fmt: on


def drawn() -> list[np.ndarray]:
    """A disk, a rectangle, and a mask of two parts."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    disk = (y - 12) ** 2 + (x - 14) ** 2 <= 81
    rectangle = (y >= 22) & (y < 36) & (x >= 5) & (x < 30)
    parts = ((y - 10) ** 2 + (x - 38) ** 2 <= 36) | ((y >= 24) & (y < 30) & (x >= 36) & (x < 46))
    return [disk, rectangle, parts]


def test_an_archive_of_cvat_holds_the_masks_as_they_are(tmp_path: Path):
    with ZipFile(tmp_path / "task.zip", "w") as archive:
        archive.writestr("annotations/instances_default.json", json.dumps(DATUMARO))
    (image,) = read_corrected(tmp_path / "task.zip", [RECORD], CLASSES)
    assert [label.category_id for label in image.labels] == [1, 1, 2]
    for label, mask in zip(image.labels, drawn(), strict=True):
        np.testing.assert_array_equal(label.mask, mask)


def test_polygons_of_fiftyone_are_the_masks_but_for_half_a_pixel_of_outline(tmp_path: Path):
    (tmp_path / "labels.json").write_text(json.dumps(FIFTYONE), encoding="utf-8")
    (image,) = read_corrected(tmp_path / "labels.json", [RECORD], CLASSES)
    assert [label.category_id for label in image.labels] == [1, 1, 2]
    overlaps = [mask_iou(label.mask, mask) for label, mask in zip(image.labels, drawn(), strict=True)]
    assert min(overlaps) > 0.86
