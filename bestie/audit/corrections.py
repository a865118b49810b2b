"""What people corrected: their labels compared with those that the pipeline had, and kept for all later ones."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool

from bestie.artifacts.corrections import FOLDER
from bestie.artifacts.instances import decode_mask, encode_mask
from bestie.artifacts.schemas import CORRECTIONS, INSTANCES
from bestie.artifacts.tables import TableWriter, as_rows, iter_images
from bestie.audit.matching import Masks, match_instances
from bestie.datasets.corrected_labels import CorrectedImage
from bestie.errors import InputError
from bestie.method.corrections import SAME_OBJECT
from bestie.records import Category, ImageRecord

#: Tools that turn masks into polygons move outlines by so much.
REDRAWN_PX = 2


@dataclass(frozen=True)
class Corrected:
    """What an import found.

    Attributes:
        path: the file with the corrections; None if there are none, or nothing was to be written.
        images: number of images in it.
        counts: number of labels by what became of them: `kept`, `changed`, `added`, `removed`.
    """

    path: Path | None
    images: int
    counts: Counter[str]


def import_corrections(
    corrected: Iterable[CorrectedImage],
    table: Path,
    categories: Sequence[Category],
    *,
    by: str,
    name: str,
    folder: Path = FOLDER,
    write: bool = True,
) -> Corrected:
    """Compare corrected labels with an instance table, and write the differences.

    A corrected label is paired with the one of the table that it overlaps most, from an IoU of `SAME_OBJECT` on. It is
    as it was if it has the same class, and an outline that differs by at most `REDRAWN_PX`. Labels of the table without
    a pair, in images that were looked at, were removed.

    Args:
        corrected: the images that somebody looked at.
        table: the labels that this person began with.
        categories: the classes.
        by: who corrected them.
        name: a name for the file.
        folder: where to write it, after those that are there.
        write: whether to write it.

    Raises:
        InputError: a file cannot be read, or the corrections of this name were imported before.
    """
    imported = {path.stem: path.stem.partition("_") for path in folder.glob("*.parquet")}
    if write and (before := [stem for stem, (_, _, known) in imported.items() if known == name]):
        raise InputError(f"{folder / before[0]}.parquet was imported before. Remove it, or give another --name.")
    names = ["", *(category.name for category in categories)]
    automatic = {row: list(as_rows(columns)) for row, columns in iter_images(table, INSTANCES)}
    counts: Counter[str] = Counter({"kept": 0, "changed": 0, "added": 0, "removed": 0})
    rows: list[dict[str, Any]] = []
    images = 0
    for image in corrected:
        images += 1
        for old, new in _differences(image, automatic.get(image.record.row, []), counts, table):
            rows.append(_row(image.record, (names[old[0]], old[1]), (names[new[0]], new[1]), by))
    if not write or not rows:
        return Corrected(None, images, counts)
    numbers = [int(number) for number, _, _ in imported.values() if number.isdecimal()]
    path = folder / f"{max(numbers, default=0) + 1:04d}_{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    with TableWriter(path, CORRECTIONS) as writer:
        writer.append_rows(rows)
    return Corrected(path, images, counts)


#: The category_id and the run lengths of a label; 0 and "" where there is none.
Label = tuple[int, str]
NONE: Label = (0, "")


def _differences(
    image: CorrectedImage, automatic: list[dict[str, Any]], counts: Counter[str], table: Path
) -> Iterator[tuple[Label, Label]]:
    """Yield each label that was changed, added or removed, before and after, and count what became of all."""
    record = image.record
    codes = [encode_mask(each.mask) for each in image.labels]
    before = Masks([row["rle"] for row in automatic], _classes(automatic), record.height, record.width)
    ids = np.array([each.category_id for each in image.labels], np.int64)
    after = Masks(codes, ids, record.height, record.width)
    for pair in match_instances(before, after, min_iou=SAME_OBJECT):
        old = NONE if pair.before is None else (int(before.classes[pair.before]), before.counts[pair.before])
        new = NONE if pair.after is None else (int(ids[pair.after]), codes[pair.after])
        what = "added" if pair.before is None else "removed" if pair.after is None else "changed"
        if what == "changed" and old[0] == new[0]:
            base = decode_mask(old[1], record.height, record.width, source=table)
            what = "kept" if _is_redrawn(base, image.labels[pair.after or 0].mask) else what
        counts[what] += 1
        if what != "kept":
            yield old, new


def _row(record: ImageRecord, old: tuple[str, str], new: tuple[str, str], by: str) -> dict[str, Any]:
    """Return a row with the names of classes and the run lengths before and after."""
    names = ("base_category", "base_rle", "category", "rle")
    size = {"height": record.height, "width": record.width}
    return {"image_id": record.image_id, **size, **dict(zip(names, (*old, *new), strict=True)), "by": by}


def _is_redrawn(before: Bool[np.ndarray, "h w"], after: Bool[np.ndarray, "h w"]) -> bool:
    """Return whether two masks differ only within `REDRAWN_PX` of the outline of the first."""
    square = np.ones((2 * REDRAWN_PX + 1,) * 2, np.uint8)
    inner, outer = (change(before.view(np.uint8), square) > 0 for change in (cv2.erode, cv2.dilate))
    return not ((before ^ after) & (inner | ~outer)).any()


def _classes(rows: list[dict[str, Any]]) -> np.ndarray:
    return np.array([row["category_id"] for row in rows], np.int64)
