"""The choice of a fixed number of images to show, such that every kind of image is represented.

Every image is offered to the buckets that it belongs to, and a bucket keeps the images with the lowest hashes of
their names. This random choice is the same each time, and its memory does not grow with the number of images.
"""

import hashlib
import heapq
from collections.abc import Collection, Hashable


class BucketSample:
    """A sample of images: at most `per_bucket` in each bucket."""

    def __init__(self, per_bucket: int) -> None:
        self._per_bucket = per_bucket
        self._buckets: dict[Hashable, list[tuple[int, int]]] = {}

    def offer(self, bucket: Hashable, row: int, name: str, *, limit: int | None = None) -> None:
        """Offer an image to a bucket; offer it only once.

        Args:
            bucket: the kind of image.
            row: the row of the image.
            name: the image_id, whose hash decides whether the bucket keeps the image.
            limit: the size of this bucket; None: `per_bucket`.
        """
        heap = self._buckets.setdefault(bucket, [])
        entry = (-_hash(name), row)
        if len(heap) < (limit or self._per_bucket):
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)

    def choose(self, budget: int, taken: Collection[int] = ()) -> list[int]:
        """Return at most `budget` rows in ascending order: those already `taken`, then one of each bucket in turn."""
        queues = [
            sorted(self._buckets[key], reverse=True) for key in sorted(self._buckets, key=lambda k: _hash(repr(k)))
        ]
        chosen = set(taken)
        for turn in range(max(map(len, queues), default=0)):
            for queue in queues:
                if len(chosen) >= budget:
                    return sorted(chosen)
                if turn < len(queue):
                    chosen.add(queue[turn][1])
        return sorted(chosen)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
