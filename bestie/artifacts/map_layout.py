"""The size of map arrays: one canvas for all images, stored in tiles of the usual size."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

#: A tile is as high and as wide as this part of the images are at most.
USUAL_SHARE = 0.9


class MapLayout(NamedTuple):
    """Height and width, in px, of the canvas that every image fits into, and of the tiles that it is stored in."""

    canvas_hw: tuple[int, int]
    tile_hw: tuple[int, int]


def layout_of(sizes_hw: Sequence[tuple[int, int]] | np.ndarray) -> MapLayout:
    """Return a layout for images of these sizes, n rows of height and width in px.

    Usually the canvas is one tile. If it has more than four times the pixels of a tile that nine in ten images fit
    into, it is made of such tiles: otherwise a single panorama makes every map as slow to read and write as its own.
    """
    canvas_hw = tuple(np.max(sizes_hw, axis=0).tolist())
    height, width = np.quantile(sizes_hw, USUAL_SHARE, axis=0, method="higher").astype(int).tolist()
    return MapLayout(canvas_hw, (height, width) if math.prod(canvas_hw) > 4 * height * width else canvas_hw)
