"""Errors of an instance table, found image by image, so that memory does not grow with the number of images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from bestie.artifacts.schemas import INSTANCES
from bestie.artifacts.tables import Columns, iter_images, read_table
from bestie.metrics.detection_errors import ERRORS, ImageErrors, Verdict, find_errors
from bestie.metrics.masks import MaskTable
from bestie.metrics.operating_point import ScoreHistogram
from bestie.records import ImageRecord

COLUMNS = ("category_id", "score", "is_crowd", "rle")


@dataclass(frozen=True)
class JudgedImage:
    """One image, its true instances, the instances found on it, and the errors among these."""

    record: ImageRecord
    truth: MaskTable
    found: MaskTable
    errors: ImageErrors


class ErrorCounts:
    """The number of times that each verdict occurs, by class.

    MISSED counts true objects by their class; all other verdicts count predictions by theirs.
    """

    def __init__(self, num_classes: int) -> None:
        self.images = 0
        self._counts: dict[Verdict, Int64[np.ndarray, {num_classes}]] = {
            verdict: np.zeros(num_classes, np.int64) for verdict in Verdict
        }

    def add(self, image: JudgedImage) -> None:
        """Count the verdicts of one image."""
        self.images += 1
        for verdict, category_id in zip(image.errors.verdict, image.found.category_id, strict=True):
            self._counts[verdict][category_id - 1] += 1
        np.add.at(self._counts[Verdict.MISSED], image.truth.category_id[image.errors.missed] - 1, 1)

    def total(self, verdict: Verdict) -> int:
        """Return how often a verdict occurs, over all classes."""
        return int(self._counts[verdict].sum())

    def as_dict(self) -> dict[str, int]:
        """Return the counts of the verdict `correct` and of the five errors, over all classes."""
        return {verdict.value: self.total(verdict) for verdict in (Verdict.CORRECT, *ERRORS)}


def judge_images(
    truth: Path, found: Path, records: Sequence[ImageRecord], *, min_score: float = 0.0
) -> Iterator[JudgedImage]:
    """Compare the instances found on each image with the true ones, and yield the image with its errors.

    Args:
        truth: the instance table with the true instances.
        found: the instance table to judge.
        records: the images, in ascending order of row.
        min_score: instances with a lower score are left out; see `best_min_score`.

    Raises:
        InputError: a table cannot be read or is not ordered by row.
    """
    true_tables, found_tables = _Tables(truth), _Tables(found)
    for record in records:
        true_masks, masks = true_tables.of(record), found_tables.of(record, min_score=min_score)
        yield JudgedImage(record, true_masks, masks, find_errors(true_masks, masks))


def best_min_score(truth: Path, found: Path, records: Sequence[ImageRecord]) -> float:
    """Return the smallest score to count so that F1 is largest. Raises InputError like `judge_images`."""
    histogram = ScoreHistogram()
    num_truth = 0
    for image in judge_images(truth, found, records):
        counted = np.array([verdict != Verdict.IGNORED for verdict in image.errors.verdict], bool)
        right = np.array([verdict == Verdict.CORRECT for verdict in image.errors.verdict], bool)
        histogram.update(image.found.score[counted], right[counted])
        num_truth += int((~image.truth.is_crowd).sum())
    return histogram.best_score(num_truth)


def read_images_of(path: Path, records: Sequence[ImageRecord], *, min_score: float = 0.0) -> dict[int, MaskTable]:
    """Return the masks of a few images by row, including images without masks. Raises InputError like `read_table`."""
    columns = read_table(path, INSTANCES, ("row", *COLUMNS), where={"row": [record.row for record in records]})
    return {
        record.row: _mask_table(
            {name: values[columns["row"] == record.row] for name, values in columns.items()}, record, min_score
        )
        for record in records
    }


class _Tables:
    """An instance table, read image by image in ascending order of row."""

    def __init__(self, path: Path) -> None:
        self._images = iter_images(path, INSTANCES, COLUMNS)
        self._next: tuple[int, Columns] | None = next(self._images, None)

    def of(self, record: ImageRecord, *, min_score: float = 0.0) -> MaskTable:
        """Return the masks of one image; none if the table has no row of it."""
        while self._next is not None and self._next[0] < record.row:
            self._next = next(self._images, None)
        if self._next is None or self._next[0] != record.row:
            return _empty_table()
        return _mask_table(self._next[1], record, min_score)


def _mask_table(columns: Columns, record: ImageRecord, min_score: float) -> MaskTable:
    kept = np.flatnonzero(columns["score"] >= min_score)
    size = [record.height, record.width]
    return MaskTable(
        row=np.full(len(kept), record.row, np.int64),
        category_id=columns["category_id"][kept].astype(np.int64),
        score=columns["score"][kept].astype(np.float64),
        rle=[{"size": size, "counts": columns["rle"][index].encode("ascii")} for index in kept],
        is_crowd=columns["is_crowd"][kept].astype(bool),
    )


def _empty_table() -> MaskTable:
    none = np.zeros(0, np.int64)
    return MaskTable(row=none, category_id=none, score=np.zeros(0), rle=[], is_crowd=np.zeros(0, bool))
