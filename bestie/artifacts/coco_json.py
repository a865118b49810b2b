"""Instances as COCO's `annotations.json`, which Mask R-CNN implementations and pycocotools read."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from bestie.artifacts.atomic import atomic_output
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import iter_rows
from bestie.datasets.base import Category, ImageRecord
from bestie.errors import InputError


def write_coco(path: Path, instances: Path, *, images: Sequence[ImageRecord], categories: Sequence[Category]) -> None:
    """Write an instance table as COCO annotations, one at a time.

    `file_name` is the image's path relative to the data set's root; a category's id is its `source_id`;
    masks are compressed RLE; each annotation keeps its `score`. All given images are listed, those
    without instances too.

    Raises:
        InputError: the table cannot be read, or has an image or a category that is not listed.
    """
    ids = coco_image_ids(images)
    listed = {
        "images": [{"file_name": r.path, "height": r.height, "id": ids[r.row], "width": r.width} for r in images],
        "categories": [{"id": c.source_id, "name": c.name, "supercategory": ""} for c in categories],
    }
    with atomic_output(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write("{")
        for key, entries in listed.items():
            _write_list(file, key, entries)
            file.write(",\n")
        _write_list(file, "annotations", _annotations(instances, images, ids, categories))
        file.write("}\n")


def coco_image_ids(images: Iterable[ImageRecord]) -> dict[int, int]:
    """row -> integer image id: the image_id itself where all are numbers, as in COCO, else row + 1.

    Either way an image keeps its number when others join the list, as long as it keeps its row.
    """
    images = list(images)
    ids = {r.row: int(r.image_id) for r in images if r.image_id.isdecimal()}
    unique = len(set(ids.values())) == len(images)
    return ids if unique else {r.row: r.row + 1 for r in images}


def _annotations(
    instances: Path, images: Sequence[ImageRecord], ids: Mapping[int, int], categories: Sequence[Category]
) -> Iterator[dict[str, Any]]:
    record_of = {record.row: record for record in images}
    source_id = {category.category_id: category.source_id for category in categories}
    for number, entry in enumerate(iter_rows(instances, INSTANCES), start=1):
        record = record_of.get(entry["row"])
        if record is None or record.image_id != entry["image_id"]:
            raise InputError(
                f"{instances} has the image {entry['image_id']} in row {entry['row']}, which the image table "
                "does not. Both must come from one run: run the stage that writes the instances again."
            )
        if entry["category_id"] not in source_id:
            raise InputError(
                f"{instances} has the category_id {entry['category_id']}, which the category table does not. "
                "Run the stage that writes the instances again."
            )
        yield {
            "area": entry["area_px"],
            "bbox": entry["bbox_xywh"],
            "category_id": source_id[entry["category_id"]],
            "id": number,
            "image_id": ids[record.row],
            "iscrowd": int(entry["is_crowd"]),
            "score": round(entry["score"], 6),
            "segmentation": {"counts": entry["rle"], "size": [record.height, record.width]},
        }


def _write_list(file: TextIO, key: str, entries: Iterable[Mapping[str, Any]]) -> None:
    file.write(f"{json.dumps(key)}: [")
    for k, entry in enumerate(entries):
        file.write(("" if k == 0 else ",") + "\n" + json.dumps(entry, ensure_ascii=False))
    file.write("\n]")
