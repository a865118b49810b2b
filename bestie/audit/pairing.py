"""Images of two versions side by side, read as streams, so that memory does not grow with their number."""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Int64

from bestie.artifacts.tables import Columns
from bestie.records import ImageRecord

ImagePair = tuple[ImageRecord | None, ImageRecord | None]


class ImageStream:
    """A lookup of columns by row in a stream of images whose rows ascend.

    Args:
        stream: yields (row, columns), like `iter_images`.
        ordered: whether rows are taken in ascending order too. Rows that are passed over are then dropped; otherwise
            they are held until they are taken.
    """

    def __init__(self, stream: Iterator[tuple[int, Columns]], *, ordered: bool = True) -> None:
        self._stream = stream
        self._ordered = ordered
        self._next = next(stream, None)
        self._held: dict[int, Columns] = {}

    def take(self, row: int) -> Columns:
        """Return the columns of a row and let go of them; empty if the stream has no such row."""
        while self._next is not None and self._next[0] <= row:
            if self._next[0] == row or not self._ordered:
                self._held[self._next[0]] = self._next[1]
            self._next = next(self._stream, None)
        return self._held.pop(row, {})


class Pairing:
    """An iterable over pairs of records with one image_id in two versions; None for a version without the image.

    If the images that both versions have are in the same order in both (`ordered`), the rows of both ascend, and 16
    bytes per image are held in memory; otherwise all records are.

    Args:
        before: the records of the first version, which are iterated over several times.
        after: the records of the second version, likewise.
    """

    def __init__(self, before: Iterable[ImageRecord], after: Iterable[ImageRecord]) -> None:
        self._before, self._after = before, after
        old, new = _keys(before), _keys(after)
        self._kept, self._known = np.isin(old, new), np.isin(new, old)
        self.ordered = np.array_equal(old[self._kept], new[self._known])

    def __iter__(self) -> Iterator[ImagePair]:
        return self._in_order() if self.ordered else self._in_any_order()

    def _in_order(self) -> Iterator[ImagePair]:
        waiting = zip(self._after, self._known, strict=True)
        for old, is_kept in zip(self._before, self._kept, strict=True):
            if not is_kept:
                yield old, None
                continue
            for new, is_known in waiting:
                if is_known:
                    yield old, new
                    break
                yield None, new
        for new, _ in waiting:
            yield None, new

    def _in_any_order(self) -> Iterator[ImagePair]:
        counterpart = {record.image_id: record for record in self._after}
        for old in self._before:
            yield old, counterpart.pop(old.image_id, None)
        for new in counterpart.values():
            yield None, new


def _keys(records: Iterable[ImageRecord]) -> Int64[np.ndarray, " n"]:
    """Return one number per image that stands for its image_id; it differs from one run of Python to the next."""
    return np.fromiter((hash(record.image_id) for record in records), np.int64)
