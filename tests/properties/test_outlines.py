"""Outlines: an exact one gives back its mask, also when joined and with pycocotools; a smooth one nearly does."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from bestie.pictures.outlines import exact_outlines, joined_outline, smooth_outlines

# pycocotools lacks the keyword that NumPy 2 asks for.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

masks = hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def fill(polygons: list[np.ndarray], height: int, width: int) -> np.ndarray:
    """The pixels whose middle lies inside by the even-odd rule, edge by edge."""
    y, x = np.mgrid[:height, :width] + 0.5
    inside = np.zeros((height, width), bool)
    for polygon in polygons:
        for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            if y1 != y2:
                crosses = (y > min(y1, y2)) & (y < max(y1, y2))
                inside ^= crosses & (x1 + (y - y1) * (x2 - x1) / (y2 - y1) < x)
    return inside


@given(masks)
def test_an_exact_outline_is_the_mask(mask: np.ndarray):
    assert (fill(exact_outlines(mask), *mask.shape) == mask).all()


@given(masks)
def test_its_corners_are_needed_and_lie_on_the_edges_of_pixels(mask: np.ndarray):
    for polygon in exact_outlines(mask):
        steps = np.roll(polygon, -1, axis=0) - polygon
        assert ((steps != 0).sum(axis=1) == 1).all()
        assert polygon.min() >= 0
        assert (polygon <= mask.shape[::-1]).all()


@given(masks.filter(np.any))
def test_joined_it_is_still_the_mask(mask: np.ndarray):
    assert (fill([joined_outline(exact_outlines(mask))], *mask.shape) == mask).all()


def test_without_pixels_there_is_nothing_to_join():
    assert exact_outlines(np.zeros((3, 4), bool)) == []
    with pytest.raises(ValueError, match="no polygon"):
        joined_outline([])


def blobs(seed: int) -> np.ndarray:
    """A mask of several parts with holes."""
    rng = np.random.default_rng(seed)
    return cv2.GaussianBlur(rng.standard_normal((70, 90)), (0, 0), 4) > 0.01


@pytest.mark.parametrize("seed", range(10))
def test_pycocotools_gives_the_mask_back(seed: int):
    mask = blobs(seed)
    polygon = joined_outline(exact_outlines(mask)).astype(float).ravel().tolist()
    decoded = coco_mask.decode(coco_mask.frPyObjects([polygon], *mask.shape))[..., 0]
    assert (decoded == mask).all()


@pytest.mark.parametrize("size_px", [60, 90, 320])
def test_a_smooth_outline_is_nearly_the_mask_with_fewer_corners(size_px: int):
    mask = blobs(0)
    polygons = smooth_outlines(mask, size_px)
    height, width = round(70 * size_px / 90), size_px
    filled = np.zeros((height, width), np.uint8)
    cv2.fillPoly(filled, [polygon.astype(np.int32) for polygon in polygons], 1)
    wanted = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    assert (filled & wanted).sum() / (filled | wanted).sum() > 0.85
    assert sum(map(len, polygons)) < sum(map(len, exact_outlines(mask)))
