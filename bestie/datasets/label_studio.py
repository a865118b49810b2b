"""Label Studio's JSON: masks as its own run-length code of RGBA pixels, and polygons in percent of the image.

The code is a stream of bits: the number of bytes (32), their width less one (5), four widths of a run's length less one
(4 each); then runs. A run begins with a bit that says whether one byte is repeated, two bits that choose the width of
its length, and that length less one; the byte, or all bytes, follow.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool

from bestie.datasets.segmentation import decode_segmentation
from bestie.errors import InputError

CHANNELS, BYTE_BITS, LENGTH_BITS = 4, 8, (3, 4, 8, 16)
OPAQUE = 255
PERCENT = 100


def encode_brush(mask: Bool[np.ndarray, "h w"]) -> list[int]:
    """Return the code of a mask, as bytes; `decode_brush` is the inverse."""
    flat = np.repeat(mask.ravel(), CHANNELS)
    bits = [_bits(len(flat), 32), _bits(BYTE_BITS - 1, 5), *(_bits(width - 1, 4) for width in LENGTH_BITS)]
    ends = np.flatnonzero(np.diff(flat)) + 1
    edges = [0, *ends.tolist(), len(flat)]
    longest = 1 << LENGTH_BITS[-1]
    for start, end in pairwise(edges):
        for first in range(start, end, longest):
            value = OPAQUE if flat[start] else 0
            length = min(longest, end - first)
            bits.append("111" + _bits(length - 1, LENGTH_BITS[-1]) + _bits(value, BYTE_BITS))
    stream = "".join(bits)
    stream += "0" * (-len(stream) % 8)
    return [int(stream[at : at + 8], 2) for at in range(0, len(stream), 8)]


def decode_brush(code: Iterable[int], size: tuple[int, int], where: str) -> Bool[np.ndarray, "h w"]:
    """Return the mask of a code.

    Args:
        code: bytes.
        size: (height, width) of the image in px.
        where: the place in the file, for messages.

    Raises:
        InputError: the code is malformed, or is not that of a mask of this size.
    """
    try:
        return _decoded(bytes(code), size)
    except (ValueError, IndexError, TypeError) as error:
        raise InputError(f"{where}: its brush mask is malformed ({error}). Export the file again.") from error


def _decoded(code: bytes, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    stream = _Bits(code)
    count, byte_bits = stream.take(32), stream.take(5) + 1
    lengths = [stream.take(4) + 1 for _ in LENGTH_BITS]
    if count != size[0] * size[1] * CHANNELS:
        raise ValueError(f"{count} bytes for an image of {size[0]}x{size[1]} px")
    flat = np.zeros(count, np.uint8)
    at = 0
    while at < count:
        repeated = stream.take(1)
        end = at + 1 + stream.take(lengths[stream.take(2)])
        if end > count:
            raise ValueError("a run that is longer than the image")
        if repeated:
            flat[at:end] = stream.take(byte_bits)
        else:
            flat[at:end] = [stream.take(byte_bits) for _ in range(at, end)]
        at = end
    return flat.reshape(*size, CHANNELS)[..., -1] > 0


class _Bits:
    """A reader of a stream of bits, the highest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> int:
        """Return the next bits as a number. Raises ValueError at the end."""
        end = self._at + count
        if end > 8 * len(self._data):
            raise ValueError("it ends too early")
        first, last = self._at // 8, -(-end // 8)
        value = int.from_bytes(self._data[first:last], "big") >> (8 * last - end)
        self._at = end
        return value & ((1 << count) - 1)


def _bits(value: int, count: int) -> str:
    return format(value, f"0{count}b")


def labeled_regions(
    result: Iterable[dict[str, Any]], size: tuple[int, int], where: str
) -> Iterator[tuple[str, Bool[np.ndarray, "h w"]]]:
    """Yield the class and the mask of each region of an annotation.

    Args:
        result: the value of `result`.
        size: (height, width) of the image in px.
        where: the place in the file, for messages.

    Raises:
        InputError: a region has no mask, no class, or another size of its image.
    """
    for number, region in enumerate(result, start=1):
        place = f"{where}, region {number}"
        kind, value = region.get("type"), region.get("value") or {}
        found = (region.get("original_height"), region.get("original_width"))
        if found != size:
            raise InputError(f"{place}: its image is {found} (height, width), here it is {size}. Give the same images.")
        names = value.get(kind) or ["?"]
        if kind == "brushlabels":
            yield str(names[0]), decode_brush(value.get("rle") or (), size, place)
        elif kind == "polygonlabels":
            height, width = size
            corners = [side * float(at) / PERCENT for x, y in value["points"] for side, at in ((width, x), (height, y))]
            yield str(names[0]), decode_segmentation([corners], size, place)
        else:
            raise InputError(f"{place} is of the type {kind!r}, which has no mask. Take brushlabels or polygonlabels.")
