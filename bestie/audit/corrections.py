"""What people corrected: their labels compared with those that the pipeline had, and kept for all later ones."""

from collections import Counter
from collections.abc import Iterable
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
    corrected: Iterable[CorrectedImage], table: Path, *, by: str, name: str, folder: Path = FOLDER, write: bool = True
) -> Corrected:
    """Compare corrected labels with an instance table, and write the differences.

    A corrected label is paired with the one of the table that it overlaps most, from an IoU of `SAME_OBJECT` on. It is
    as it was if it has the same class, and an outline that differs by at most `REDRAWN_PX`. Labels of the table without
    a pair, in images that were looked at, were removed.

    Args:
        corrected: the images that somebody looked at.
        table: the labels that this person began with.
        by: who corrected them.
        name: a name for the file.
        folder: where to write it, after those that are there.
        write: whether to write it.

    Raises:
        InputError: a file cannot be read, or the corrections of this name were imported before.
    """
    if write and (before := sorted(folder.glob(f"*_{name}.parquet"))):
        raise InputError(f"{before[0]} was imported before. Remove it, or give another --name.")
    automatic = {row: list(as_rows(columns)) for row, columns in iter_images(table, INSTANCES)}
    counts: Counter[str] = Counter({"kept": 0, "changed": 0, "added": 0, "removed": 0})
    rows: list[dict[str, Any]] = []
    images = 0
    for image in corrected:
        images += 1
        rows += _compare(image, automatic.get(image.record.row, []), by, counts, table)
    if not write or not rows:
        return Corrected(None, images, counts)
    numbers = [int(each.name.partition("_")[0]) for each in folder.glob("[0-9]*_*.parquet")]
    path = folder / f"{max(numbers, default=0) + 1:04d}_{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    with TableWriter(path, CORRECTIONS) as writer:
        writer.append_rows(rows)
    return Corrected(path, images, counts)


def _compare(
    image: CorrectedImage, automatic: list[dict[str, Any]], by: str, counts: Counter[str], table: Path
) -> list[dict[str, Any]]:
    record = image.record
    codes = [encode_mask(each.mask) for each in image.labels]
    before = Masks([row["rle"] for row in automatic], _classes(automatic), record.height, record.width)
    ids = np.array([each.category_id for each in image.labels], np.int64)
    after = Masks(codes, ids, record.height, record.width)
    rows = []
    for pair in match_instances(before, after, min_iou=SAME_OBJECT):
        found: dict[str, Any] = {"category_id": 0, "rle": ""} if pair.before is None else automatic[pair.before]
        old = (int(found["category_id"]), str(found["rle"]))
        new = (0, "") if pair.after is None else (int(ids[pair.after]), codes[pair.after])
        what = "added" if pair.before is None else "removed" if pair.after is None else "changed"
        if what == "changed" and old[0] == new[0]:
            base = decode_mask(old[1], record.height, record.width, source=table)
            what = "kept" if _is_redrawn(base, image.labels[pair.after or 0].mask) else what
        counts[what] += 1
        if what != "kept":
            rows.append(
                {
                    "image_id": record.image_id,
                    "height": record.height,
                    "width": record.width,
                    "category_id": new[0],
                    "rle": new[1],
                    "base_category_id": old[0],
                    "base_rle": old[1],
                    "by": by,
                }
            )
    return rows


def _is_redrawn(before: Bool[np.ndarray, "h w"], after: Bool[np.ndarray, "h w"]) -> bool:
    """Return whether two masks differ only within `REDRAWN_PX` of the outline of the first."""
    square = np.ones((2 * REDRAWN_PX + 1,) * 2, np.uint8)
    inner, outer = (change(before.view(np.uint8), square) > 0 for change in (cv2.erode, cv2.dilate))
    return not ((before ^ after) & (inner | ~outer)).any()


def _classes(rows: list[dict[str, Any]]) -> np.ndarray:
    return np.array([row["category_id"] for row in rows], np.int64)
