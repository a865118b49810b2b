"""Colors of categories, instances and offsets, the same in every picture."""

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Integer, UInt8

# After this many instances colors repeat.
MAX_DISTINCT = 128


def category_colors(n: int) -> UInt8[np.ndarray, "m 3"]:
    """Return PASCAL VOC's color map for category ids 0..n, m = n + 1 <= 256; row 0, the background, is black.

    The bits of an id, three at a time, become the highest bits of red, green and blue.

    Raises:
        ValueError: n is outside 0..255.
    """
    if not 0 <= n <= 255:
        raise ValueError(f"the color map has category ids 0..255, not {n}")
    ids = np.arange(n + 1)
    colors = np.zeros((n + 1, 3), dtype=np.uint8)
    for step in range(8):
        bits = (ids[:, None] >> (3 * step + np.arange(3))) & 1
        colors |= (bits << (7 - step)).astype(np.uint8)
    return colors


def instance_colors(n: int) -> UInt8[np.ndarray, "m 3"]:
    """Return the colors of instance ids 0..n, m = n + 1; row 0, no instance, is black.

    Of all colors that are neither dull nor glaring, each is the one farthest in CIELAB from those before it, so the
    first few differ most, and an id has the same color whatever n is. Colors repeat after `MAX_DISTINCT`.
    """
    colors = np.zeros((n + 1, 3), dtype=np.uint8)
    colors[1:] = _distinct_colors()[np.arange(n) % MAX_DISTINCT]
    return colors


@lru_cache(maxsize=1)
def _distinct_colors() -> UInt8[np.ndarray, "k 3"]:
    level = np.arange(0, 256, 17, dtype=np.uint8)
    rgb = np.stack(np.meshgrid(level, level, level, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = to_lab(rgb)
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    vivid = (lightness > 50) & (lightness < 88) & (chroma > 40) & (chroma < 85)
    rgb, lab = rgb[vivid], lab[vivid]
    chosen = [int(np.abs(rgb.astype(int) - (255, 85, 51)).sum(axis=1).argmin())]
    nearest = np.full(len(rgb), np.inf)
    while len(chosen) < MAX_DISTINCT:
        nearest = np.minimum(nearest, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    return rgb[chosen]


def to_lab(rgb: UInt8[np.ndarray, "n 3"]) -> Float32[np.ndarray, "n 3"]:
    """Convert colors to CIELAB, where distances are close to perceived ones: lightness 0..100, then a and b."""
    return cv2.cvtColor(rgb.astype(np.float32)[None] / 255, cv2.COLOR_RGB2LAB)[0]


def offset_colors(offset: Float[np.ndarray, "2 h w"], *, reach_px: float) -> UInt8[np.ndarray, "h w 3"]:
    """Return the color of each offset (dy, dx) in px: its direction gives the hue, its length the saturation.

    An offset of 0 is white; one of `reach_px` or more is fully saturated. Right is red, down is yellow-green, left is
    cyan, up is violet.
    """
    dy, dx = offset.astype(np.float32)
    length = np.hypot(dy, dx) / max(reach_px, np.finfo(np.float32).tiny)
    # Pale colors are hard to tell apart: the root gives short offsets more of the scale.
    saturation = np.sqrt(np.minimum(length, 1))
    hue = np.degrees(np.arctan2(dy, dx)) % 360
    hsv = np.stack([hue, saturation, np.ones_like(hue)], axis=-1).astype(np.float32)
    return to_uint8(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255)


def offset_wheel(size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """Draw the legend of `offset_colors`: a disk on white, in which each point has the color of the offset to it."""
    radius = size / 2
    steps = np.arange(size, dtype=np.float32) + 0.5 - radius
    offset = np.stack(np.meshgrid(steps, steps, indexing="ij"))
    inside = np.clip(radius - np.hypot(*offset), 0, 1)
    white = np.full((size, size, 3), 255, dtype=np.uint8)
    return blend(white, offset_colors(offset, reach_px=radius), inside)


def blend(
    image: UInt8[np.ndarray, "h w 3"],
    color: UInt8[np.ndarray, "h w 3"] | UInt8[np.ndarray, " 3"],
    alpha: Float[np.ndarray, "h w"] | Bool[np.ndarray, "h w"] | float,
) -> UInt8[np.ndarray, "h w 3"]:
    """Lay `color` over `image`, with an opacity `alpha` from 0 (only the image is seen) to 1 (only the color)."""
    weight = np.asarray(alpha, dtype=np.float32)[..., None]
    return to_uint8(image * (1 - weight) + color * weight)


def to_uint8(
    values: Float[np.ndarray, "h w 3"] | Integer[np.ndarray, "h w 3"],
) -> UInt8[np.ndarray, "h w 3"]:
    """Round values to whole numbers and limit them to 0..255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
