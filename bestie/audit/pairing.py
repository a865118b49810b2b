"""Images of two versions side by side, read as streams: memory does not grow with their number."""

from collections.abc import Iterator, Sequence

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


def same_order(before: Sequence[ImageRecord], after: Sequence[ImageRecord]) -> bool:
    """Whether the images that both have follow each other in the same order in both."""
    old, new = {record.image_id for record in before}, {record.image_id for record in after}
    return [r.image_id for r in before if r.image_id in new] == [r.image_id for r in after if r.image_id in old]


def pair_images(before: Sequence[ImageRecord], after: Sequence[ImageRecord]) -> Iterator[ImagePair]:
    """The records of each image in both versions by its image_id, None where a version lacks it.

    Where `same_order` holds, the rows of both versions ascend.
    """
    counterpart = {record.image_id: record for record in after}
    known = {record.image_id for record in before}
    ordered = same_order(before, after)
    waiting = iter(after if ordered else [record for record in after if record.image_id not in known])
    for old in before:
        new = counterpart.get(old.image_id)
        if new is not None and ordered:
            for other in waiting:
                if other is new:
                    break
                yield None, other
        yield old, new
    for other in waiting:
        yield None, other
