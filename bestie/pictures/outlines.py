"""Masks as polygons: exact, along the edges of pixels, or smooth, for display."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Integer
from scipy.spatial import cKDTree

from bestie.pictures.scaling import fitted_size

#: How far a smooth outline may be from the mask's own outline, in px of the picture.
TOLERANCE_PX = 0.7

Polygon = Integer[np.ndarray, "_k 2"]


def exact_outlines(mask: Bool[np.ndarray, "h w"]) -> list[Polygon]:
    """Return closed polygons of corners (x, y) along the edges of pixels; holes are polygons of their own.

    Filled by the even-odd rule, they are the mask: pixel (y, x) is the square from (x, y) to (x + 1, y + 1).
    """
    # At twice the size every pixel becomes four, each of which touches one corner of the pixel.
    doubled = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, _ = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return [_without_needless_corners((contour[:, 0] + 1) // 2) for contour in contours]


def smooth_outlines(mask: Bool[np.ndarray, "h w"], size_px: int) -> list[Polygon]:
    """Return polygons (x, y) of a mask in a picture whose longer side is `size_px`, rounded to whole px.

    Enlarged masks have no steps. Parts thinner than a pixel of the picture are left out.
    """
    height, width = fitted_size(*mask.shape, size_px=size_px)
    how = cv2.INTER_LINEAR if size_px > max(mask.shape) else cv2.INTER_AREA
    fitted = cv2.resize(mask.astype(np.uint8) * 255, (width, height), interpolation=how) >= 128
    contours, _ = cv2.findContours(fitted.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    simple = (cv2.approxPolyDP(contour, TOLERANCE_PX, closed=True)[:, 0] for contour in contours)
    return [polygon for polygon in simple if len(polygon) > 2]


def joined_outline(polygons: Sequence[Polygon]) -> Polygon:
    """Join polygons into one closed polygon, for formats that allow one per instance.

    Each polygon is joined to the ones before it where they are nearest, by a bridge that is followed in both
    directions. The bridge has no width, so filling by the even-odd rule gives the same mask as before.

    Raises:
        ValueError: there is no polygon.
    """
    if not polygons:
        raise ValueError("an outline of no polygon")
    joined, *others = sorted(polygons, key=len, reverse=True)
    for other in others:
        distance, place = cKDTree(joined).query(other)
        there = int(distance.argmin())
        here = int(place[there])
        loop = np.concatenate([np.roll(other, -there, axis=0), other[there : there + 1], joined[here : here + 1]])
        joined = np.concatenate([joined[: here + 1], loop, joined[here + 1 :]])
    return joined


def _without_needless_corners(points: Polygon) -> Polygon:
    """Remove repeated points and points in the middle of a straight line."""
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    arriving, leaving = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = arriving[:, 0] * leaving[:, 1] != arriving[:, 1] * leaving[:, 0]
    reverses = (arriving * leaving).sum(axis=1) < 0
    return points[turns | reverses]
