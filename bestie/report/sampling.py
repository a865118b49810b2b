"""Which images a page shows: a fixed number, so chosen that no kind of image is left out.

Every image is offered to the buckets that it belongs to; a bucket keeps the few with the lowest hash of their name.
That is a random choice which comes out the same each time, and its memory does not grow with the number of images.
"""

import hashlib
import heapq
from collections.abc import Collection, Hashable


class BucketSample:
    """Images by bucket, `per_bucket` of each at most."""

    def __init__(self, per_bucket: int) -> None:
        self._per_bucket = per_bucket
        self._buckets: dict[Hashable, list[tuple[int, int]]] = {}

    def offer(self, bucket: Hashable, row: int, name: str, *, limit: int | None = None) -> None:
        """An image of a bucket, once; `limit` lets this bucket keep another number."""
        heap = self._buckets.setdefault(bucket, [])
        entry = (-_hash(name), row)
        if len(heap) < (limit or self._per_bucket):
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)

    def choose(self, budget: int, taken: Collection[int] = ()) -> list[int]:
        """At most `budget` rows in ascending order: those already taken, then one of each bucket in turn."""
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
