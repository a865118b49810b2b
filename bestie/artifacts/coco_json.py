"""Instances in COCO's JSON: as annotations, which implementations of Mask R-CNN read, and as results to score."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from bestie.artifacts.atomic import atomic_output
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import iter_rows
from bestie.errors import InputError
from bestie.records import Category, ImageRecord

#: Larger numbers are not exact in every reader of JSON.
MAX_DIGITS = 15


def write_coco(
    path: Path,
    instances: Path,
    *,
    images: Sequence[ImageRecord],
    categories: Sequence[Category],
    min_score: float = 0.0,
    skip_others: bool = False,
) -> int:
    """Write an instance table as COCO annotations, one at a time.

    `file_name` is the image's path relative to the data set's root; a category's id is its `source_id`; masks are
    compressed RLE; each annotation keeps its `score`. All given images are listed, including those without instances.

    Args:
        path: the file to write.
        instances: the instance table.
        images: the images to list.
        categories: all categories.
        min_score: instances with a lower score are left out.
        skip_others: whether to leave out the instances of images that are not listed; otherwise they are refused.

    Returns:
        The number of annotations.

    Raises:
        InputError: the table cannot be read, or has an image or a category that is not listed.
    """
    ids = coco_image_ids(images)
    listed: dict[str, Iterable[Mapping[str, Any]]] = {
        "images": ({"file_name": r.path, "height": r.height, "id": ids[r.row], "width": r.width} for r in images),
        "categories": ({"id": c.source_id, "name": c.name, "supercategory": ""} for c in categories),
    }
    with atomic_output(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write("{")
        for key, entries in listed.items():
            file.write(f"{json.dumps(key)}: ")
            _write_entries(file, entries)
            file.write(",\n")
        file.write('"annotations": ')
        rows = _rows(instances, images, min_score=min_score, skip_others=skip_others)
        count = _write_entries(file, _annotations(rows, instances, images, ids, categories))
        file.write("}\n")
    return count


def write_coco_results(
    path: Path,
    instances: Path,
    *,
    images: Sequence[ImageRecord],
    categories: Sequence[Category],
    min_score: float = 0.0,
    skip_others: bool = False,
) -> int:
    """Write an instance table as COCO results: a list, for `loadRes` and evaluation servers.

    Arguments, return value and errors are those of `write_coco`. Crowd regions are not results and are left out.
    """
    kept = ("image_id", "category_id", "segmentation", "bbox", "score")
    with atomic_output(path) as partial, partial.open("w", encoding="utf-8") as file:
        rows = _rows(instances, images, min_score=min_score, skip_others=skip_others)
        entries = _annotations(rows, instances, images, coco_image_ids(images), categories)
        count = _write_entries(file, ({key: each[key] for key in kept} for each in entries if not each["iscrowd"]))
        file.write("\n")
    return count


def coco_image_ids(images: Sequence[ImageRecord]) -> dict[int, int]:
    """Return row -> integer image id: the data set's own number, which its annotations use.

    Images of a data set without numbers have the digits of their image_id if these are unique (2007_000033 of VOC is
    2007000033), otherwise row + 1. If only some have a number, the others are counted on from the largest one.

    Raises:
        InputError: two images have the same number, as in two splits that are numbered separately.
    """
    numbers = {record.row: record.source_id for record in images if record.source_id is not None}
    if not numbers:
        return _ids_without_numbers(images)
    holders: dict[int, ImageRecord] = {}
    for record in images:
        if record.row in numbers and (first := holders.setdefault(numbers[record.row], record)) is not record:
            raise InputError(
                f"the data set gives the images {first.image_id} and {record.image_id} the same number, "
                f"{record.source_id}. Take one split at a time, with --split."
            )
    following = max(numbers.values()) + 1
    return {record.row: numbers.get(record.row, following + record.row) for record in images}


def _ids_without_numbers(images: Sequence[ImageRecord]) -> dict[int, int]:
    digits = {record.row: "".join(filter(str.isdecimal, record.image_id)) for record in images}
    ids = {row: int(text) for row, text in digits.items() if 0 < len(text) <= MAX_DIGITS}
    unique = len(set(ids.values())) == len(images)
    return ids if unique else {record.row: record.row + 1 for record in images}


def _rows(
    instances: Path, images: Sequence[ImageRecord], *, min_score: float, skip_others: bool
) -> Iterator[dict[str, Any]]:
    listed = {record.row for record in images}
    for entry in iter_rows(instances, INSTANCES):
        if entry["score"] >= min_score and (entry["row"] in listed or not skip_others):
            yield entry


def _annotations(
    rows: Iterable[Mapping[str, Any]],
    instances: Path,
    images: Sequence[ImageRecord],
    ids: Mapping[int, int],
    categories: Sequence[Category],
) -> Iterator[dict[str, Any]]:
    places = {record.row: place for place, record in enumerate(images)}
    record: ImageRecord | None = None
    source_id = {category.category_id: category.source_id for category in categories}
    for number, entry in enumerate(rows, start=1):
        if record is None or record.row != entry["row"]:
            place = places.get(entry["row"])
            record = None if place is None else images[place]
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


def _write_entries(file: TextIO, entries: Iterable[Mapping[str, Any]]) -> int:
    """Write a list with one entry per line, and return the number of entries."""
    count = 0
    file.write("[")
    for entry in entries:
        file.write(("," if count else "") + "\n" + json.dumps(entry, ensure_ascii=False))
        count += 1
    file.write("\n]")
    return count
