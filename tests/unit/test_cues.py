"""Cues from activation maps, also against plain loops and SciPy."""

import numpy as np
import pytest
from scipy import ndimage

from bestie.method.cues import find_cues, smooth


def random_maps(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def peaks_by_loops(scores: np.ndarray, window_px: int, threshold: float) -> list[tuple[int, int]]:
    """The peaks of one map, highest first, by looking around every pixel."""
    reach = window_px // 2
    found = []
    for y, x in np.ndindex(scores.shape):
        around = scores[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        if scores[y, x] >= threshold and scores[y, x] == around.max():
            found.append((y, x))
    return sorted(found, key=lambda yx: -scores[yx])


def test_smoothing_is_the_mean_of_nine_pixels_with_zeros_beyond_the_border():
    maps = random_maps(3, 11, 17)
    expected = ndimage.uniform_filter(maps.astype(np.float64), size=(1, 3, 3), mode="constant")
    np.testing.assert_allclose(smooth(maps), expected, atol=1e-6)


@pytest.mark.parametrize("window_px", [1, 3, 7, 41])
def test_cues_are_the_peaks_that_loops_find(window_px: int):
    maps = random_maps(3, 24, 31, seed=window_px)
    cues = find_cues(maps, window_px=window_px, threshold=0.6, max_per_class=10_000)
    for channel, scores in enumerate(maps):
        of_channel = cues.channel == channel
        found = list(zip(cues.y[of_channel], cues.x[of_channel], strict=True))
        assert found == peaks_by_loops(scores, window_px, 0.6)
        np.testing.assert_array_equal(cues.score[of_channel], [scores[yx] for yx in found])


def test_a_map_of_zeros_gives_no_cue():
    for threshold in (0.0, 0.5):
        assert len(find_cues(np.zeros((2, 20, 20), dtype=np.float32), threshold=threshold).score) == 0


def test_no_map_gives_no_cue():
    cues = find_cues(np.zeros((0, 20, 20), dtype=np.float32))
    assert len(cues.channel) == len(cues.y) == len(cues.x) == len(cues.score) == 0


def test_a_score_equal_to_the_threshold_is_a_cue():
    maps = np.zeros((1, 20, 20), dtype=np.float32)
    maps[0, 5, 6] = 0.5
    assert len(find_cues(maps, threshold=0.5).score) == 1
    assert len(find_cues(maps, threshold=0.51).score) == 0


def test_only_the_highest_cues_of_a_class_are_kept():
    maps = random_maps(2, 40, 40)
    every = find_cues(maps, window_px=3, threshold=0.1, max_per_class=10_000)
    kept = find_cues(maps, window_px=3, threshold=0.1, max_per_class=4)
    for channel in range(2):
        np.testing.assert_array_equal(kept.score[kept.channel == channel], every.score[every.channel == channel][:4])


def test_equal_scores_stand_in_the_order_of_pixels_also_at_the_limit():
    maps = np.zeros((1, 40, 40), dtype=np.float32)
    maps[0, 2::8, 2::8] = 0.8
    maps[0, 18, 18] = 0.9
    cues = find_cues(maps, window_px=3, max_per_class=20)
    assert cues.score.tolist() == [np.float32(0.9)] + 19 * [np.float32(0.8)]
    rest = list(zip(cues.y[1:], cues.x[1:], strict=True))
    assert rest == sorted(rest)


def test_every_pixel_of_a_plateau_is_a_cue():
    maps = np.zeros((1, 30, 30), dtype=np.float32)
    maps[0, 10:13, 4:9] = 0.8
    maps[0, 25, 25] = 0.9
    assert len(find_cues(maps, max_per_class=100).score) == 16


@pytest.mark.parametrize("window_px", [0, 4, -3])
def test_a_window_without_a_middle_pixel_is_refused(window_px: int):
    with pytest.raises(ValueError, match="window_px must be odd"):
        find_cues(random_maps(1, 8, 8), window_px=window_px)
