"""Label Studio's code of masks: what its own package (label-studio-sdk 2.1) writes, and any mask there and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bestie.datasets.label_studio import decode_brush, encode_brush, labeled_regions
from bestie.errors import InputError

#: By `mask2rle` of that package, for the mask below.
THEIRS = [0, 0, 0, 96, 57, 27, 254, 31, 0, 183, 255, 108, 2, 223, 252, 96, 17, 255, 225, 48, 0]


def small_mask() -> np.ndarray:
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = mask[3, 0] = True
    return mask


def test_the_code_of_their_own_package_is_read():
    np.testing.assert_array_equal(decode_brush(THEIRS, (4, 6), "here"), small_mask())


@settings(deadline=None, max_examples=40)  # bits are read one by one, which takes its time on a busy machine
@given(st.integers(1, 90), st.integers(1, 400), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.02, 0.5, 1.0]))
def test_any_mask_comes_back(height: int, width: int, seed: int, part: float):
    mask = np.random.default_rng(seed).random((height, width)) < part
    np.testing.assert_array_equal(decode_brush(encode_brush(mask), (height, width), "here"), mask)


@pytest.mark.parametrize(
    ("code", "size", "reason"),
    [
        (THEIRS, (4, 5), "96 bytes for an image of 4x5 px"),
        (THEIRS[:-3], (4, 6), "it ends too early"),
        ([], (4, 6), "it ends too early"),
        ([300], (4, 6), "bytes must be in range"),
        ([*THEIRS[:7], 255, 255, 255, 255], (4, 6), "longer than the image"),
    ],
)
def test_a_malformed_code_is_refused(code: list[int], size: tuple[int, int], reason: str):
    with pytest.raises(InputError, match=rf"here: its brush mask is malformed \(.*{reason}"):
        decode_brush(code, size, "here")


def region(kind: str, **changes: object) -> dict:
    value = {"rle": THEIRS, kind: ["cat"], "points": [[0, 0], [50, 0], [50, 100], [0, 100]]}
    return {"type": kind, "original_height": 4, "original_width": 6, "value": value, **changes}


def test_polygons_are_in_percent():
    ((name, mask),) = labeled_regions([region("polygonlabels")], (4, 6), "here")
    assert name == "cat"
    assert mask[:, :3].all() and not mask[:, 3:].any()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (region("rectanglelabels"), "of the type 'rectanglelabels', which has no mask"),
        (region("brushlabels", original_width=7), r"its image is \(4, 7\) \(height, width\), here it is \(4, 6\)"),
    ],
)
def test_a_region_without_a_mask_or_of_another_image_is_refused(wrong: dict, reason: str):
    with pytest.raises(InputError, match=rf"here, region 1.*{reason}"):
        list(labeled_regions([wrong], (4, 6), "here"))
