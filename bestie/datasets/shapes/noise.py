"""Smooth random fields and random colors, of which textures and blob-shaped label errors are made."""

import colorsys

import cv2
import numpy as np
from jaxtyping import Float32


def smooth_noise(
    rng: np.random.Generator, height: int, width: int, *, cells: int
) -> Float32[np.ndarray, "{height} {width}"]:
    """Return Gaussian noise, interpolated from a `cells` × `cells` grid: mean near 0, standard deviation 0.8."""
    grid = rng.standard_normal((cells + 1, cells + 1), dtype=np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def octave_noise(
    rng: np.random.Generator, height: int, width: int, *, cells: int, octaves: int
) -> Float32[np.ndarray, "{height} {width}"]:
    """Sum `smooth_noise` over octaves, each with twice the cells and half the weight of the one before."""
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
    """Draw an RGB color in 0..1 with HSV saturation and value from the given ranges, and any hue unless it is given."""
    hue = rng.random() if hue is None else hue
    rgb = colorsys.hsv_to_rgb(hue % 1.0, rng.uniform(*saturation), rng.uniform(*value))
    return np.array(rgb, np.float32)
