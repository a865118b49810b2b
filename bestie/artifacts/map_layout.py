"""The size of map arrays: one canvas for all images, stored in tiles of the usual size."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

#: A tile is as high and as wide as this part of the images are at most.
USUAL_SHARE = 0.9


class MapLayout(NamedTuple):
    """Height and width, in px, of the canvas that every image fits into, and of the tiles that it is stored in."""

    canvas_hw: tuple[int, int]
    tile_hw: tuple[int, int]


def layout_of(sizes: Iterable[tuple[int, int]]) -> MapLayout:
    """Return a layout for images of these sizes (height, width).

    Usually the canvas is one tile. If it has more than four times the pixels of a tile that nine in ten images fit
    into, it is made of such tiles: otherwise a single panorama makes every map as slow to read and write as its own.
    """
    sides = list(zip(*sizes, strict=True))
    canvas_hw = (max(sides[0]), max(sides[1]))
    height, width = (int(np.quantile(each, USUAL_SHARE, method="higher")) for each in sides)
    return MapLayout(canvas_hw, (height, width) if math.prod(canvas_hw) > 4 * height * width else canvas_hw)
