"""The source of an export: the instances of a table, image by image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bestie.artifacts.image_index import columns_of, read_images
from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import iter_images, read_categories
from bestie.errors import InputError
from bestie.records import Category, ImageRecord

COLUMNS = ("image_id", "category_id", "score", "is_crowd", "rle")


@dataclass(frozen=True)
class Instance:
    """One instance; `rle` are COCO's compressed counts for the image's (height, width)."""

    category_id: int
    score: float
    is_crowd: bool
    rle: str


@dataclass(frozen=True)
class Source:
    """An instance table, the images to export, and the lowest score to export.

    Attributes:
        table: the instance table.
        images: the images to export, in ascending order of row, including those without instances.
        categories: all categories.
        min_score: instances with a lower score are left out.
    """

    table: Path
    images: Sequence[ImageRecord]
    categories: Sequence[Category]
    min_score: float

    def __iter__(self) -> Iterator[tuple[ImageRecord, list[Instance]]]:
        """Yield each image with its instances, the best score first.

        Raises:
            InputError: the table and the index come from different runs.
        """
        num_classes = len(self.categories)
        found = columns_of(self.images, self.table, INSTANCES, COLUMNS)
        for record, columns in zip(self.images, found, strict=True):
            if columns is None:
                yield record, []
                continue
            if (columns["image_id"] != record.image_id).any() or columns["category_id"].max() > num_classes:
                raise InputError(
                    f"{self.table} and the index disagree about image {record.image_id} in row {record.row}: they come "
                    "from different runs. Give the folder with the index of the table's own run."
                )
            order = np.argsort(-columns["score"], kind="stable")
            values = [columns[name][order].tolist() for name in COLUMNS[1:]]
            instances = (Instance(*each) for each in zip(*values, strict=True))
            yield record, [each for each in instances if each.score >= self.min_score]


def open_source(table: Path, index: Path, *, split: str | None = None, min_score: float = 0.0) -> Source:
    """Read the index of an instance table and choose the images to export.

    Args:
        table: the instance table.
        index: the folder with `images.parquet` and `categories.parquet`.
        split: the split to export. None exports the splits in which the table has instances, since labels of training
            images say nothing about validation images; if it has no instances at all, all images.
        min_score: instances with a lower score are left out.

    Raises:
        InputError: a file cannot be read, or there is no image of that split.
    """
    images = read_images(index / "images.parquet")
    categories = read_categories(index / "categories.parquet")
    if split is None:
        shown = images.among({row for row, _ in iter_images(table, INSTANCES, ["row"])})
        found = {record.split for record in shown}
        kept = [record for record in images if record.split in found] or images
    else:
        kept = images.of_split(split)
    if not kept:
        splits = ", ".join(sorted({record.split for record in images}))
        raise InputError(f"{index / 'images.parquet'} has no images of the split '{split}', only of {splits}.")
    return Source(table, kept, categories, min_score)
