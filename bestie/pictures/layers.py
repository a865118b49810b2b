"""Layers that show what the stages hand on: semantic maps, activations, cues, center and offset maps.

Each function takes an RGB picture and returns a new one of the same size.
"""

import math

import cv2
import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

from bestie.pictures.color import blend, category_colors, offset_colors, to_uint8
from bestie.records import VOID

WHITE = np.full(3, 255, dtype=np.uint8)
BLACK = np.zeros(3, dtype=np.uint8)
SEMANTIC_ALPHA = 0.6
ACTIVATION_ALPHA = 0.65
UNLABELED_BRIGHTNESS = 0.4
LABELED_ALPHA = 0.9
# cv2 takes fixed-point coordinates with this many fractional bits.
SHIFT = 4


def line_width(image: UInt8[np.ndarray, "h w 3"]) -> int:
    """Return the line width in px that suits the size of a picture."""
    return max(1, round(max(image.shape[:2]) / 300))


def draw_semantic(image: UInt8[np.ndarray, "h w 3"], semantic: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Draw the classes of a semantic map in their `category_colors`, with white edges.

    Void (255) is hatched in white; background (0) stays as it is.
    """
    labeled = (semantic > 0) & (semantic != VOID)
    drawn = blend(image, category_colors(VOID)[semantic], labeled * SEMANTIC_ALPHA)
    drawn = blend(drawn, WHITE, _edges(semantic) & labeled)
    y, x = np.indices(semantic.shape)
    period = 5 * line_width(image) + 1
    hatch = np.where((y + x) % period < line_width(image) + 1, 0.9, 0.3)
    return blend(drawn, WHITE, np.where(semantic == VOID, hatch, 0))


def draw_activation(
    image: UInt8[np.ndarray, "h w 3"], activation: Float[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw an activation map as heat over the darkened picture; values are limited to 0..1.

    The colors (inferno) get lighter from step to step, so their order is visible in gray as well.
    """
    steps = np.rint(np.clip(activation, 0, 1) * 255).astype(np.uint8)
    heat = cv2.cvtColor(cv2.applyColorMap(steps, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return blend(_gray(image), heat, ACTIVATION_ALPHA)


def draw_cues(
    image: UInt8[np.ndarray, "h w 3"],
    yx: Float[np.ndarray, "n 2"] | Integer[np.ndarray, "n 2"],
    category_id: Integer[np.ndarray, " n"],
    score: Float[np.ndarray, " n"],
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw cues as dots in their `category_colors` with a white and a dark halo, at (y, x) in px.

    The area of a dot grows with its score in 0..1; higher scores lie on top.
    """
    drawn = image.copy()
    largest_px = max(image.shape[:2]) / 40
    colors = category_colors(VOID)
    for index in np.argsort(score, kind="stable"):
        radius_px = largest_px * math.sqrt(0.3 + 0.7 * min(max(float(score[index]), 0), 1))
        halo_px = max(1.0, 0.4 * radius_px)
        _disk(drawn, yx[index], radius_px + 1.5 * halo_px, BLACK)
        _disk(drawn, yx[index], radius_px + halo_px, WHITE)
        _disk(drawn, yx[index], radius_px, colors[category_id[index]])
    return drawn


def draw_centers_offsets(
    image: UInt8[np.ndarray, "h w 3"],
    center: Float[np.ndarray, "h w"],
    offset: Float[np.ndarray, "2 h w"],
    instance: Integer[np.ndarray, "h w"],
    *,
    reach_px: float | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw the center map (0..1) and the offset map (dy, dx in px) of an image in one picture.

    Pixels of an instance (id above 0) have the color of their offset, see `offset_wheel`; offsets of `reach_px`, by
    default the longest one shown, are fully saturated. The rest of the picture is gray and dark. Wherever the center
    map peaks, inside an instance or not, there is a white glow around a dark dot.
    """
    labeled = instance > 0
    if reach_px is None:
        reach_px = float(np.hypot(*offset)[labeled].max(initial=0))
    colors = offset_colors(offset, reach_px=reach_px)
    dark = to_uint8(_gray(image) * np.float32(UNLABELED_BRIGHTNESS))
    drawn = blend(dark, colors, labeled * LABELED_ALPHA)
    drawn = blend(drawn, BLACK, (_edges(instance) & labeled) * 0.6)
    drawn = blend(drawn, WHITE, np.clip(center, 0, 1))
    radius_px = max(image.shape[:2]) / 90
    for peak_yx in _peaks_yx(center):
        _disk(drawn, peak_yx, radius_px, BLACK)
    return drawn


def _peaks_yx(
    center: Float[np.ndarray, "h w"], *, threshold: float = 0.3, window_px: int = 7
) -> Float[np.ndarray, "n 2"]:
    """Return the local maxima of a center map, with one point in the middle of each plateau."""
    values = center.astype(np.float32)
    is_peak = (values == cv2.dilate(values, np.ones((window_px, window_px)))) & (values >= threshold)
    _, _, _, centroid_xy = cv2.connectedComponentsWithStats(is_peak.astype(np.uint8), connectivity=8)
    return centroid_xy[1:, ::-1]


def _disk(image: UInt8[np.ndarray, "h w 3"], yx: np.ndarray, radius_px: float, color: UInt8[np.ndarray, " 3"]) -> None:
    """Fill a disk in place; its center may lie between pixels."""
    y, x, radius = (round(float(value) * 2**SHIFT) for value in (*yx, radius_px))
    cv2.circle(image, (x, y), radius, color.tolist(), cv2.FILLED, cv2.LINE_AA, SHIFT)


def _edges(labels: Integer[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Return which pixels have a 4-neighbor with another label."""
    edges = np.zeros(labels.shape, dtype=bool)
    across_y, across_x = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    edges[1:] |= across_y
    edges[:-1] |= across_y
    edges[:, 1:] |= across_x
    edges[:, :-1] |= across_x
    return edges


def _gray(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
