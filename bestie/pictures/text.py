"""Text in one typeface at any size, measured and drawn."""

import math
from bisect import bisect_right
from functools import lru_cache

from PIL import ImageDraw, ImageFont


@lru_cache
def font(size_px: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's own scalable typeface.

    Raises:
        RuntimeError: Pillow was built without FreeType, so it has no scalable typeface.
    """
    loaded = ImageFont.load_default(size=size_px)
    if not isinstance(loaded, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType; install one of its wheels")
    return loaded


def text_width(text: str, size_px: int) -> int:
    """Return the width of one line in px, rounded up."""
    return math.ceil(font(size_px).getlength(text))


def shorten(text: str, size_px: int, *, width_px: int) -> str:
    """Return `text` or, if it does not fit into `width_px`, as much of its beginning as fits with three dots."""
    if text_width(text, size_px) <= width_px:
        return text
    cuts = [text[:length].rstrip() + "..." for length in range(len(text))]
    fitting = bisect_right(cuts, width_px, key=lambda cut: text_width(cut, size_px))
    return cuts[max(fitting - 1, 0)]


def write(
    draw: ImageDraw.ImageDraw,
    xy: tuple[int, int],
    text: str,
    size_px: int,
    *,
    color: tuple[int, int, int],
    anchor: str = "lm",
) -> None:
    """Write one line; `anchor` is Pillow's, such as "lm" for the middle of its left end at `xy`."""
    draw.text(xy, text, fill=color, font=font(size_px), anchor=anchor)
