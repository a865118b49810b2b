"""Scaling of pictures, maps and points to one size, so that layers drawn on them stay crisp."""

import cv2
import numpy as np
from jaxtyping import Float, Float64, Integer, Shaped, UInt8

# From this factor on, single pixels should be visible.
PIXELS_FROM_FACTOR = 4


def fitted_size(height: int, width: int, *, size_px: int) -> tuple[int, int]:
    """Return height and width with the same aspect ratio, the longer of them `size_px`."""
    factor = size_px / max(height, width)
    return max(1, round(height * factor)), max(1, round(width * factor))


def fit_image(image: UInt8[np.ndarray, "h w 3"], size_px: int) -> UInt8[np.ndarray, "a b 3"]:
    """Scale a picture until its longer side is `size_px`.

    Shrinking averages, enlarging interpolates; from a factor of `PIXELS_FROM_FACTOR` on, pixels stay squares.
    """
    height, width = fitted_size(*image.shape[:2], size_px=size_px)
    if (height, width) == image.shape[:2]:
        return image.copy()
    factor = size_px / max(image.shape[:2])
    enlarging = cv2.INTER_CUBIC if factor < PIXELS_FROM_FACTOR else cv2.INTER_NEAREST_EXACT
    how = cv2.INTER_AREA if factor < 1 else enlarging
    return cv2.resize(image, (width, height), interpolation=how)


def fit_map(values: Shaped[np.ndarray, "*c h w"], size_px: int) -> Shaped[np.ndarray, "*c a b"]:
    """Scale a map, or a stack of maps, to the size that `fit_image` gives; each pixel takes the nearest value.

    Values are not scaled: offsets keep their length in px of the original, which makes no difference to their colors.
    """
    old_height, old_width = values.shape[-2:]
    height, width = fitted_size(old_height, old_width, size_px=size_px)
    y = (2 * np.arange(height) + 1) * old_height // (2 * height)
    x = (2 * np.arange(width) + 1) * old_width // (2 * width)
    return values[..., y[:, None], x]


def fit_points(
    yx: Float[np.ndarray, "n 2"] | Integer[np.ndarray, "n 2"], *, height: int, width: int, size_px: int
) -> Float64[np.ndarray, "n 2"]:
    """Return where points (y, x) of a `height` x `width` picture are after `fit_image`, in px.

    A whole number is the middle of a pixel.
    """
    size = np.array(fitted_size(height, width, size_px=size_px))
    return (yx + 0.5) * (size / (height, width)) - 0.5
