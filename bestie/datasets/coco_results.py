"""COCO results, a list of scored masks that many instance segmentation programs write, read image by image."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool

from bestie.datasets.segmentation import decode_segmentation
from bestie.errors import InputError
from bestie.records import Category, ImageRecord

Entry = Mapping[str, Any]
Found = TypeVar("Found")


def read_results(
    path: Path, *, images: Mapping[int | str, ImageRecord], categories: Sequence[Category]
) -> Iterator[tuple[ImageRecord, list[tuple[int, float, Bool[np.ndarray, "h w"]]]]]:
    """Yield the masks of a result file image by image, in ascending order of row; empty masks are left out.

    Args:
        path: a JSON list of {image_id, category_id, segmentation, score}; masks are RLE or polygons.
        images: the records by the image ids that may occur in the file.
        categories: the categories, which the file names by their `source_id`.

    Yields:
        The record of an image that has results, and (category_id, score, mask) of each result.

    Raises:
        InputError: the file is missing or malformed, or names an image or category that does not exist.
    """
    category_id = {category.source_id: category.category_id for category in categories}
    by_row: dict[int, list[tuple[int, int, Entry]]] = {}
    records: dict[int, ImageRecord] = {}
    for number, entry in enumerate(_load(path)):
        record = _listed(images, _field(path, number, entry, "image_id"))
        if record is None:
            raise InputError(f"{path}, entry {number}: there is no image {entry['image_id']!r}. Is it another split?")
        category = _listed(category_id, _field(path, number, entry, "category_id"))
        if category is None:
            raise InputError(
                f"{path}, entry {number}: there is no category {entry['category_id']!r}. Correct the file."
            )
        records[record.row] = record
        by_row.setdefault(record.row, []).append((number, category, entry))
    for row in sorted(by_row):
        masks = [
            (category, _score(path, number, entry), _mask(path, number, entry, records[row]))
            for number, category, entry in by_row[row]
        ]
        yield records[row], [each for each in masks if each[2].any()]


def _listed(known: Mapping[Any, Found], key: int | float | str) -> Found | None:
    """Return what `known` has for a name or a number, which may be written as text, or None."""
    if key in known or not isinstance(key, str):
        return known.get(key)
    return known.get(int(key)) if key.strip().isdecimal() else None


def _load(path: Path) -> list[Entry]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist. Correct the path.") from error
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path} is no valid JSON ({error}). Write it again.") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(
            f"{path} is no list of results. COCO results are [{{image_id, category_id, segmentation, score}}, ...]; "
            "a file with annotations is none."
        )
    return entries


def _field(path: Path, number: int, entry: Entry, name: str) -> Any:
    if name not in entry:
        raise InputError(f"{path}, entry {number}: it has no {name}. Correct the file.")
    if name != "segmentation" and not isinstance(entry[name], int | float | str):
        raise InputError(f"{path}, entry {number}: its {name} is {str(entry[name])[:80]}. Correct the file.")
    return entry[name]


def _score(path: Path, number: int, entry: Entry) -> float:
    try:
        score = float(_field(path, number, entry, "score"))
        if not math.isfinite(score):
            raise ValueError(score)
        return score
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}, entry {number}: its score {entry['score']!r} is no number. Correct it.") from error


def _mask(path: Path, number: int, entry: Entry, record: ImageRecord) -> Bool[np.ndarray, "h w"]:
    coded = _field(path, number, entry, "segmentation")
    return decode_segmentation(coded, (record.height, record.width), f"{path}, entry {number}")
