"""Colors that mean the same in every picture: of categories, of instances, of offsets."""

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Integer, UInt8

# Instances above this many take the colors of the first ones again.
MAX_DISTINCT = 128


def category_colors(n: int) -> UInt8[np.ndarray, "m 3"]:
    """The color map of Pascal VOC for category ids 0..n, m = n + 1 <= 256; row 0, the background, is black.

    The bits of an id, three at a time, become the highest bits of red, green and blue.

    Raises ValueError for n outside 0..255.
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
    """Colors of instance ids 0..n, m = n + 1; row 0, no instance, is black.

    Each is the one farthest in CIELAB from those before it, of all colors neither dull nor glaring: the first
    few differ most, and an id has the same color whatever n is. They repeat after `MAX_DISTINCT`.
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
    """Colors in CIELAB, where distance is close to what people see: lightness 0..100, then a and b."""
    return cv2.cvtColor(rgb.astype(np.float32)[None] / 255, cv2.COLOR_RGB2LAB)[0]


def offset_colors(offset: Float[np.ndarray, "2 h w"], *, reach_px: float) -> UInt8[np.ndarray, "h w 3"]:
    """The color of each offset (dy, dx) in px: its direction is the hue, its length the saturation.

    An offset of 0 is white, one of `reach_px` or longer is fully saturated. To the right is red, down is
    yellow-green, left is cyan, up is violet.
    """
    dy, dx = offset.astype(np.float32)
    length = np.hypot(dy, dx) / max(reach_px, np.finfo(np.float32).tiny)
    # The eye tells pale colors apart badly: the root spends more of the scale on short offsets.
    saturation = np.sqrt(np.minimum(length, 1))
    hue = np.degrees(np.arctan2(dy, dx)) % 360
    hsv = np.stack([hue, saturation, np.ones_like(hue)], axis=-1).astype(np.float32)
    return to_uint8(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255)


def offset_wheel(size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The legend of `offset_colors`: a disk on white, where each point has the color of the offset to it."""
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
    """`color` laid over `image`, of which nothing is seen where `alpha` is 1 and everything where it is 0."""
    weight = np.asarray(alpha, dtype=np.float32)[..., None]
    return to_uint8(image * (1 - weight) + color * weight)


def to_uint8(
    values: Float[np.ndarray, "h w 3"] | Integer[np.ndarray, "h w 3"],
) -> UInt8[np.ndarray, "h w 3"]:
    """Rounded to whole numbers and limited to 0..255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
