"""Smooth random fields and colours, the raw material of every texture and of blob-shaped label errors."""

import colorsys

import cv2
import numpy as np
from jaxtyping import Float32


def smooth_noise(
    rng: np.random.Generator, height: int, width: int, *, cells: int
) -> Float32[np.ndarray, "{height} {width}"]:
    """Gaussian noise on a `cells` × `cells` grid, interpolated: mean near 0, deviation 0.8."""
    grid = rng.standard_normal((cells + 1, cells + 1), dtype=np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def octave_noise(
    rng: np.random.Generator, height: int, width: int, *, cells: int, octaves: int
) -> Float32[np.ndarray, "{height} {width}"]:
    """`smooth_noise` summed over octaves, each with twice the cells and half the weight."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        total += smooth_noise(rng, height, width, cells=cells * 2**octave) * 0.5**octave
    return total


def random_color(
    rng: np.random.Generator,
    *,
    saturation: tuple[float, float],
    value: tuple[float, float],
    hue: float | None = None,
) -> Float32[np.ndarray, " 3"]:
    """An RGB colour in 0..1: HSV saturation and value from the given ranges, any hue unless given."""
    hue = rng.random() if hue is None else hue
    rgb = colorsys.hsv_to_rgb(hue % 1.0, rng.uniform(*saturation), rng.uniform(*value))
    return np.array(rgb, np.float32)
