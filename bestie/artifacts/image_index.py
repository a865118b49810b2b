"""The index of images, `images.parquet`: its table stays as it is stored, and records are made when they are used."""

import math
import operator
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, SupportsIndex, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64, Integer

from bestie.artifacts.blobs import Blob, remedy
from bestie.artifacts.schemas import IMAGES
from bestie.artifacts.tables import STREAM_ROWS, Columns, TableWriter, iter_images, read_arrow
from bestie.errors import InputError
from bestie.records import ImageRecord

NO_MORE: tuple[float, Columns] = (math.inf, {})


class ImageIndex(Sequence[ImageRecord]):
    """The records of an index, or of some of its images, in ascending order of rows.

    An image takes a quarter of the memory of its record, and processes that are copies of this one share all of it.

    Args:
        columns: the columns of IMAGES.
        places: the places in these columns of the images that belong here; None: all.
    """

    def __init__(self, columns: dict[str, pa.Array], places: Int64[np.ndarray, " n"] | None = None) -> None:
        self._columns = columns
        self._places = np.arange(len(columns["row"])) if places is None else places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: SupportsIndex) -> ImageRecord: ...

    @overload
    def __getitem__(self, index: slice) -> "ImageIndex": ...

    def __getitem__(self, index: SupportsIndex | slice) -> "ImageRecord | ImageIndex":
        if isinstance(index, slice):
            return ImageIndex(self._columns, self._places[index])
        place = int(self._places[operator.index(index)])
        return _record({name: column[place].as_py() for name, column in self._columns.items()})

    def __iter__(self) -> Iterator[ImageRecord]:
        for first in range(0, len(self), STREAM_ROWS):
            places = pa.array(self._places[first : first + STREAM_ROWS])
            columns = [column.take(places).to_pylist() for column in self._columns.values()]
            yield from (_record(dict(zip(self._columns, row, strict=True))) for row in zip(*columns, strict=True))

    @property
    def rows(self) -> Int64[np.ndarray, " n"]:
        """The row of each image."""
        return self._column("row")

    @property
    def sizes_hw(self) -> Int64[np.ndarray, "n 2"]:
        """Height and width of each image in px."""
        return np.stack([self._column("height"), self._column("width")], axis=1)

    def of_split(self, split: str) -> "ImageIndex":
        """Return the images of one split, `train` or `val`."""
        return self._where(pc.equal(self._columns["split"], split).to_numpy(zero_copy_only=False)[self._places])

    def within(self, rows: range) -> "ImageIndex":
        """Return the images whose rows are in a range of step 1."""
        return self._where((self.rows >= rows.start) & (self.rows < rows.stop))

    def among(self, rows: Collection[int] | Integer[np.ndarray, " m"]) -> "ImageIndex":
        """Return the images whose rows are among some."""
        return self._where(np.isin(self.rows, list(rows)))

    def _where(self, kept: np.ndarray) -> "ImageIndex":
        return ImageIndex(self._columns, self._places[kept])

    def _column(self, name: str) -> Int64[np.ndarray, " n"]:
        return self._columns[name].to_numpy()[self._places].astype(np.int64)


def read_images(path: Path | Blob, split: str | None = None) -> ImageIndex:
    """Read `images.parquet`, or one split of it.

    Raises:
        InputError: the table cannot be read (`read_table`), rows do not count from 0, or an image has no pixels.
    """
    columns = read_arrow(path, IMAGES)
    index = ImageIndex(columns)
    wrong = np.flatnonzero((index.rows != np.arange(len(index))) | (index.sizes_hw < 1).any(axis=1))
    if len(wrong):
        record = index[wrong[0]]
        stands = f"{path}: image {record.image_id} of {record.height}x{record.width} px is row {record.row}"
        raise InputError(f"{stands} and stands in row {wrong[0]}. {remedy(path)}")
    return index if split is None else index.of_split(split)


def columns_of(
    records: Iterable[ImageRecord], path: Path | Blob, schema: pa.Schema, columns: Collection[str] | None = None
) -> Iterator[Columns | None]:
    """Yield the columns of each image in a table of instances or points, or None for an image that is not in it.

    The records are in ascending order of rows. Raises InputError like `iter_images`.
    """
    found = iter_images(path, schema, columns)
    row, values = next(found, NO_MORE)
    for record in records:
        while row < record.row:
            row, values = next(found, NO_MORE)
        yield values if row == record.row else None


def write_images(path: Path, records: Iterable[ImageRecord]) -> None:
    """Write `images.parquet`. Raises ValueError unless the rows of the records count from 0."""
    with TableWriter(path, IMAGES) as writer:
        for expected, record in enumerate(records):
            if record.row != expected:
                raise ValueError(f"image {record.image_id} has row {record.row} and comes as row {expected}")
            writer.append({name: getattr(record, name) for name in IMAGES.names})


def _record(row: dict[str, Any]) -> ImageRecord:
    return ImageRecord(**{**row, "labels": tuple(row["labels"]), "orientation": row["orientation"] or 1})
