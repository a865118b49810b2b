"""Images of two versions side by side, read as streams: memory does not grow with their number."""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Int64

from bestie.artifacts.tables import Columns
from bestie.datasets.base import ImageRecord

ImagePair = tuple[ImageRecord | None, ImageRecord | None]


class ImageStream:
    """The columns of images that come in ascending order of their row, by the row that is asked for.

    Args:
        stream: (row, columns), as `iter_images` gives them.
        ordered: whether rows are asked for in ascending order too; what is passed over is then dropped,
            and else held until somebody asks for it.
    """

    def __init__(self, stream: Iterator[tuple[int, Columns]], *, ordered: bool = True) -> None:
        self._stream = stream
        self._ordered = ordered
        self._next = next(stream, None)
        self._held: dict[int, Columns] = {}

    def take(self, row: int) -> Columns:
        """The columns of a row, empty where the stream has none."""
        while self._next is not None and self._next[0] <= row:
            if self._next[0] == row or not self._ordered:
                self._held[self._next[0]] = self._next[1]
            self._next = next(self._stream, None)
        return self._held.pop(row, {})


class Pairing:
    """The records of each image in two versions by its image_id, None where a version lacks it.

    Iterates over the pairs. Where the images that both versions have follow each other in the same order in both
    (`ordered`), rows ascend in both, and of each image 16 bytes are held; else all records are.

    Args:
        before: the records of the one version, which can be iterated again and again.
        after: those of the other.
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
    """One number an image that stands for its image_id; the next run of Python has others."""
    return np.fromiter((hash(record.image_id) for record in records), np.int64)
