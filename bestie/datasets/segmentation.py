"""COCO's three codes of a mask, decoded safely from any file."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as coco_mask
from jaxtyping import Bool

from bestie.errors import InputError


def decode_segmentation(coded: Any, size: tuple[int, int], where: str) -> Bool[np.ndarray, "h w"]:
    """Decode a mask from polygons (or one, not in a list), from run lengths as a list or compressed.

    Args:
        coded: the value of `segmentation`.
        size: (height, width) of the image in px.
        where: the place in the file, for messages.

    Raises:
        InputError: it is malformed, has another size, or extends beyond the image by more than the image's own size.
    """
    try:
        # Checked before decoding; otherwise the file would decide how much memory is used.
        if isinstance(coded, Mapping) and tuple(coded["size"]) != size:
            raise InputError(f"{where}: its mask is {tuple(coded['size'])}, its image {size}. Correct the file.")
        mask = _decode(coded, size)
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError, OverflowError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{where}: its segmentation is malformed ({reason}). Correct the file.") from error
    if mask.shape != size:
        raise InputError(f"{where}: its mask is {mask.shape}, its image {size}. Correct the file.")
    return mask


def _decode(coded: Any, size: tuple[int, int]) -> Bool[np.ndarray, "..."]:
    if isinstance(coded, Mapping):
        runs = coco_mask.frPyObjects(coded, *size) if isinstance(coded["counts"], list) else coded
    else:
        is_flat = all(isinstance(part, int | float | str) for part in coded)
        polygons = [[float(value) for value in polygon] for polygon in ([coded] if is_flat else coded)]
        for polygon in polygons:
            _check_polygon(polygon, size)
        runs = coco_mask.merge(coco_mask.frPyObjects(polygons, *size))
    return coco_mask.decode(runs).astype(bool, order="C")


def _check_polygon(polygon: Sequence[float], size: tuple[int, int]) -> None:
    """Raise ValueError unless a polygon has three or more corners and all of them are near the image.

    The library follows each edge in steps below a pixel, so distant corners would cost time and memory.
    """
    height, width = size
    if len(polygon) < 6 or len(polygon) % 2:
        raise ValueError(f"a polygon of {len(polygon)} numbers")
    reach = ((width, polygon[0::2]), (height, polygon[1::2]))
    if not all(math.isfinite(value) and -side <= value <= 2 * side for side, values in reach for value in values):
        raise ValueError("a polygon with corners far from the image")
