"""What every data set provides: categories, images with labels, and possibly true masks and points (Section 4.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8

from bestie.errors import InputError
from bestie.records import Category, ImageRecord, Point

#: Maps hold a category_id in 8 bits, of which 0 is the background and 255 is void.
MAX_CATEGORIES = 254

#: What to do if a list or an annotation file that the parameters name does not exist.
MISSING_LIST = "Correct dataset.root, prepare.train_list or prepare.val_list."


@dataclass(frozen=True)
class TruthInstance:
    """One true object or, with `is_crowd`, a group of objects that were not annotated one by one."""

    category_id: int
    mask: Bool[np.ndarray, "h w"]
    is_crowd: bool = False


@dataclass(frozen=True)
class GroundTruth:
    """The true masks of one image, for evaluation and diagnostics only.

    `semantic` is 0 for background, a category_id, or 255 for void.
    """

    instances: tuple[TruthInstance, ...]
    semantic: UInt8[np.ndarray, "h w"]


@runtime_checkable
class DataSet(Protocol):
    """A reader of one data set, which never holds pixels or masks of more than one image."""

    @property
    def root(self) -> Path:
        """The folder that the paths of records are relative to."""

    @property
    def categories(self) -> tuple[Category, ...]:
        """All categories in the order of their category_id, which counts from 1."""

    def samples(self, split: str) -> Sequence[str]:
        """Return the image ids of a split in the data set's own order. Raises InputError for an unknown split."""

    def record(self, image_id: str, *, row: int, split: str) -> ImageRecord:
        """Return the record of one image after reading its pixels.

        Raises InputError if the image or its labels are missing or wrong.
        """

    def ground_truth(self, image_id: str) -> GroundTruth | None:
        """Return the true masks of one image, or None if it has none.

        Raises:
            InputError: they are malformed or do not fit the image.
        """

    def points(self, image_id: str) -> tuple[Point, ...]:
        """Return the point labels of one image. Raises InputError if they are missing or wrong."""


def check_categories(source: Path | str, names: Sequence[str]) -> None:
    """Raise InputError, naming `source`, unless each class has a name of its own and all fit into 8-bit maps."""
    if not all(name.strip() for name in names):
        raise InputError(f"{source} has a class without a name. Give it one or leave it out.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{source} has the class '{twice[:80]}' twice. Give each class a name of its own.")
    if len(names) > MAX_CATEGORIES:
        raise InputError(
            f"{source} has {len(names)} classes, but at most {MAX_CATEGORIES} fit into 8-bit maps. Leave some out."
        )
