"""Rows of the instance, cue and point tables, and the run-length code of the masks in them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as coco_mask
from jaxtyping import Bool, Float, Integer, UInt16

from bestie.errors import InputError
from bestie.records import ImageRecord, Point

#: In one image, because instance maps have 16 bits.
MAX_INSTANCES = 65_535


class MaskError(InputError, ValueError):
    """Run lengths that are not the code of a mask of their image."""


def encode_mask(mask: Bool[np.ndarray, "h w"]) -> str:
    """Return COCO's compressed counts of a mask; `decode_mask` is the inverse."""
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode("ascii")


def decode_mask(
    rle: str, height: int, width: int, *, source: Path | None = None
) -> Bool[np.ndarray, "{height} {width}"]:
    """Return the mask of COCO's compressed counts for an image of `height` x `width` px.

    Raises:
        MaskError: the counts are malformed or belong to another size; the message names `source`, their table.
    """
    try:
        decoded = coco_mask.decode({"size": [height, width], "counts": rle.encode("ascii")})
    except (RuntimeError, ValueError) as error:
        where = "" if source is None else f"{source}: "
        raise MaskError(f"{where}'{rle[:40]}' codes no mask of {height}x{width}: {error}") from error
    return decoded.astype(bool, order="C")


def instance_map(
    record: ImageRecord, instance_ids: Integer[np.ndarray, " n"], rles: Sequence[str] | np.ndarray, *, source: Path
) -> UInt16[np.ndarray, "h w"]:
    """Return the instance id at each pixel of an image, 0 for none; later masks lie above earlier ones.

    Args:
        record: the image.
        instance_ids: n ids from 1.
        rles: the compressed counts of n masks.
        source: the table that they come from, for messages.

    Raises:
        MaskError: counts are malformed or belong to another size.
        InputError: an id does not fit into 16 bits.
    """
    instance = np.zeros((record.height, record.width), np.uint16)
    for number, rle in zip(instance_ids, rles, strict=True):
        if number > MAX_INSTANCES:
            raise InputError(f"{source} has an instance_id above {MAX_INSTANCES} in image {record.image_id}.")
        instance[decode_mask(rle, record.height, record.width, source=source)] = number
    return instance


def instance_rows(
    record: ImageRecord,
    masks: Iterable[Bool[np.ndarray, "h w"]],
    category_ids: Sequence[int] | np.ndarray,
    *,
    scores: Sequence[float] | np.ndarray | None = None,
    centers_yx: Float[np.ndarray, "n 2"] | None = None,
    is_crowd: Sequence[bool] | np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of one image for a table with the schema INSTANCES; instance ids count from 1.

    Args:
        record: the image.
        masks: n masks of the image's size; only one at a time is held, so they can come from a generator.
        category_ids: n category ids.
        scores: n scores; None: all 1.
        centers_yx: n centers in px; None: the centroids of the masks.
        is_crowd: n flags; None: all False.

    Raises:
        ValueError: a mask is empty or of another size, or the lengths differ.
    """
    n = len(category_ids)
    scores = np.ones(n) if scores is None else scores
    is_crowd = np.zeros(n, bool) if is_crowd is None else is_crowd
    centers: Iterable = [None] * n if centers_yx is None else centers_yx
    entries = zip(masks, category_ids, scores, is_crowd, centers, strict=True)
    return [
        {
            "image_id": record.image_id,
            "row": record.row,
            "instance_id": instance_id,
            "category_id": int(category_id),
            "score": float(score),
            "is_crowd": bool(crowd),
            **_describe(record, mask, center_yx),
        }
        for instance_id, (mask, category_id, score, crowd, center_yx) in enumerate(entries, start=1)
    ]


def cue_rows(record: ImageRecord, points: Iterable[Point]) -> list[dict[str, Any]]:
    """Return the rows of one image for a table with the schema CUES."""
    return [
        {
            "image_id": record.image_id,
            "row": record.row,
            "category_id": point.category_id,
            "y": point.y,
            "x": point.x,
            "score": point.score,
        }
        for point in points
    ]


def _describe(record: ImageRecord, mask: Bool[np.ndarray, "h w"], center_yx: np.ndarray | None) -> dict[str, Any]:
    if mask.shape != (record.height, record.width):
        raise ValueError(f"a mask of {mask.shape} for image {record.image_id} of {(record.height, record.width)}")
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(ys):
        raise ValueError(f"an empty mask for image {record.image_id}")
    y, x = mask_center_yx(mask) if center_yx is None else map(float, center_yx)
    top, left, bottom, right = int(ys[0]), int(xs[0]), int(ys[-1]), int(xs[-1])
    return {
        "area_px": int(mask.sum()),
        "bbox_xywh": [float(left), float(top), float(right - left + 1), float(bottom - top + 1)],
        "center_y": y,
        "center_x": x,
        "rle": encode_mask(mask),
    }


def mask_center_yx(mask: Bool[np.ndarray, "h w"]) -> tuple[float, float]:
    """Return the centroid (y, x), in px, of a mask that is not empty."""
    y_counts, x_counts = mask.sum(axis=1), mask.sum(axis=0)
    area = y_counts.sum()
    return float(y_counts @ np.arange(len(y_counts)) / area), float(x_counts @ np.arange(len(x_counts)) / area)
