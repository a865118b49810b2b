"""Images of any color mode as RGB of 8 bits."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from bestie.errors import InputError

#: Modes of Pillow with more than 8 bits a pixel: 16-bit gray, 32-bit integers, floats.
DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
WHITE_8, WHITE_16 = 255, 65_535
#: A 16-bit image whose largest value is below this may hold 10 or 12 bits, which nothing in the file says.
LEAST_WHITE_16 = 4_096
#: A float image whose largest value is between 1 and this may be of either range.
LEAST_WHITE_8 = 16


def to_rgb(path: Path, image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    """Return the pixels of a decoded image as RGB, 0..255.

    Deeper gray images are scaled where their range is sure: floats from 0 to 1 by 255, values up to 255 not at all,
    values that reach into the upper four of 16 bits by 1 / 257.

    Raises:
        InputError: the range of a deeper image is not sure, or Pillow cannot convert the color mode.
    """
    if image.mode in DEEP_MODES:
        gray = _to_8_bits(path, np.array(image))
        return np.repeat(gray[..., None], 3, axis=2)
    try:
        if "transparency" in image.info:  # a palette with transparent entries is converted to RGB through RGBA
            image = image.convert("RGBA")
        return np.array(image.convert("RGB"))
    except ValueError as error:
        raise InputError(f"{path} has the color mode {image.mode}, which is not read. Save it as RGB.") from error


def _to_8_bits(path: Path, values: np.ndarray) -> UInt8[np.ndarray, "h w"]:
    low, high = float(values.min()), float(values.max())
    factor = _factor(low, high, is_float=values.dtype.kind == "f")
    if factor is None:
        raise InputError(
            f"{path} has {values.dtype} values from {low:g} to {high:g}, and nothing shows which of them is white. "
            f"Scale them to 0 to {WHITE_8} and save the image with 8 bits."
        )
    return np.rint(values * np.float64(factor)).astype(np.uint8)


def _factor(low: float, high: float, *, is_float: bool) -> float | None:
    """Return what scales values to 0..255, or None if that is not sure, as it never is with NaN."""
    if not (low >= 0 and high <= WHITE_16):
        return None
    if is_float and high <= 1:
        return WHITE_8
    if high <= WHITE_8:
        return 1 if not is_float or high >= LEAST_WHITE_8 else None
    return WHITE_8 / WHITE_16 if high >= LEAST_WHITE_16 else None
