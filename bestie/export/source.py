"""What is exported: the instances of a table, image by image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import iter_images, read_categories, read_images
from bestie.datasets.base import Category, ImageRecord
from bestie.errors import InputError

COLUMNS = ("image_id", "category_id", "score", "is_crowd", "rle")


@dataclass(frozen=True)
class Instance:
    """One instance; `rle` is COCO's compressed counts for the image's (height, width)."""

    category_id: int
    score: float
    is_crowd: bool
    rle: str


@dataclass(frozen=True)
class Source:
    """An instance table, the images that it is about, and what is left out.

    Attributes:
        table: the instance table.
        images: the images to export, in ascending order of row; those without instances too.
        categories: all categories.
        min_score: instances below it are left out.
    """

    table: Path
    images: Sequence[ImageRecord]
    categories: Sequence[Category]
    min_score: float

    def __iter__(self) -> Iterator[tuple[ImageRecord, list[Instance]]]:
        """Each image with its instances, the best score first. InputError where table and index disagree."""
        num_classes = len(self.categories)
        wanted = {record.row: record for record in self.images}
        waiting = iter(self.images)
        for row, columns in iter_images(self.table, INSTANCES, COLUMNS):
            if row not in wanted:
                continue
            record = wanted[row]
            for other in waiting:
                if other is record:
                    break
                yield other, []
            if (columns["image_id"] != record.image_id).any() or columns["category_id"].max() > num_classes:
                raise InputError(
                    f"{self.table} and the index disagree about image {record.image_id} in row {row}: they come from "
                    "different runs. Give the folder with the index of the table's own run."
                )
            order = np.argsort(-columns["score"], kind="stable")
            values = [columns[name][order].tolist() for name in COLUMNS[1:]]
            found = (Instance(*each) for each in zip(*values, strict=True))
            yield record, [each for each in found if each.score >= self.min_score]
        yield from ((record, []) for record in waiting)


def open_source(table: Path, index: Path, *, split: str | None = None, min_score: float = 0.0) -> Source:
    """Everything that an export needs to know.

    Args:
        table: the instance table.
        index: the folder with `images.parquet` and `categories.parquet`.
        split: the images to export; None takes the splits that the table has instances of, since labels of training
            images say nothing about validation images, and all images where it has none.
        min_score: instances below it are left out.

    Raises:
        InputError: a file cannot be read, or there is no image of that split.
    """
    images = read_images(index / "images.parquet")
    categories = read_categories(index / "categories.parquet")
    known = {record.row: record.split for record in images}
    if split is None:
        found = {known[row] for row, _ in iter_images(table, INSTANCES, ["row"]) if row in known}
        kept = [record for record in images if record.split in found] or images
    else:
        kept = [record for record in images if record.split == split]
    if not kept:
        splits = ", ".join(sorted(set(known.values())))
        raise InputError(f"{index / 'images.parquet'} has no images of the split '{split}', only of {splits}.")
    return Source(table, kept, categories, min_score)
