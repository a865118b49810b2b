"""The point table of a folder of images: a row per object, with the columns `file`, `x`, `y` and `label`."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from bestie.artifacts.own_table import OwnRow, read_own_table
from bestie.datasets.class_labels import clean_name
from bestie.datasets.label_table import LabeledFile, file_of
from bestie.errors import InputError
from bestie.records import Point


class LabeledPoint(NamedTuple):
    """One row: a point in px of the image, and the class name of its object."""

    x: float
    y: float
    label: str
    where: str


class PointTable:
    """All points of a table.

    Raises:
        InputError: the table is missing or malformed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._points: dict[str, list[LabeledPoint]] = defaultdict(list)
        for row in read_own_table(path, required=("file", "x", "y", "label")):
            label = clean_name(str(row.values["label"] or ""))
            self._points[file_of(row)].append(LabeledPoint(_number(row, "x"), _number(row, "y"), label, row.where))

    @property
    def files(self) -> tuple[str, ...]:
        """The files that have points, in the order of the table."""
        return tuple(self._points)

    def labels_of(self, file: str) -> list[str]:
        """Return the class names of a file's points."""
        return [point.label for point in self._points.get(file, ())]

    def labels_without_point(self, entry: LabeledFile) -> list[str]:
        """Return the labels of an image that have no point; point supervision needs one per object."""
        return [label for label in entry.labels if label not in self.labels_of(entry.file)]

    def check(self, entry: LabeledFile, size: tuple[int, int]) -> None:
        """Raise InputError if a point is outside the image, or of a class that the image is not labeled with.

        `size` is (height, width) in px.
        """
        for point in self._points.get(entry.file, ()):
            _check(point, entry, size)

    def points_of(self, entry: LabeledFile, size: tuple[int, int], id_of_name: dict[str, int]) -> tuple[Point, ...]:
        """Return the points of one image.

        Args:
            entry: the image's row of the label table.
            size: (height, width) in px.
            id_of_name: class name -> category_id, for all labels of the image.

        Raises:
            InputError: a point is outside the image or of a class that the image is not labeled with, or a label has
                no point.
        """
        self.check(entry, size)
        if without := self.labels_without_point(entry):
            raise InputError(
                f"{self.path} has no point of the label '{without[0]}' of {entry.file}. Add one for each object."
            )
        found = self._points.get(entry.file, ())
        return tuple(Point(id_of_name[point.label], y=point.y, x=point.x) for point in found)


def _check(point: LabeledPoint, entry: LabeledFile, size: tuple[int, int]) -> None:
    height, width = size
    if point.label not in entry.labels:
        raise InputError(
            f"{point.where}: {entry.file} is not labeled '{point.label[:80]}'. Correct the point or the labels."
        )
    if not (0 <= point.y < height and 0 <= point.x < width):
        raise InputError(
            f"{point.where}: the point x={point.x:g}, y={point.y:g} is outside the image of {width}x{height} "
            "(width x height). Correct the point."
        )


def _number(row: OwnRow, column: str) -> float:
    value: Any = row.values[column]
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(
            f"{row.where}: {column} is {str(value)[:80]!r}, which is no number. Write pixels of the image."
        )
    return number
