"""Augmentation: an image and its maps stay aligned, and every choice follows from the generator."""

import numpy as np
import pytest
import torch

from bestie.training.augment import MEAN_RGB, crop_and_flip, jitter_colors

HEIGHT, WIDTH = 96, 120


def coordinates() -> tuple[torch.Tensor, dict[str, tuple[torch.Tensor, int]]]:
    """An image whose red and green say where a pixel was, and maps that say the same."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    image = torch.stack([y * 2, x * 2, torch.full_like(x, 200)]).to(torch.uint8)
    return image, {"y": (y.to(torch.int32), -1), "x": (x.to(torch.int32), -1)}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("crop_px", [40, 64, 128])
def test_image_and_maps_stay_aligned(seed: int, crop_px: int):
    image, maps = coordinates()
    rng = np.random.default_rng(seed)
    cut, others = crop_and_flip(image, maps, crop_px=crop_px, scale=(0.6, 1.6), flip=True, rng=rng)

    assert cut.shape == (3, crop_px, crop_px)
    inside = others["y"] >= 0
    # Away from the image's edge, where the padding's color is blended in.
    core = torch.nn.functional.max_pool2d((~inside).float()[None], 7, 1, 3)[0] == 0
    assert core.sum() > crop_px
    assert (cut[0].float() / 2 - others["y"])[core].abs().max() <= 2
    assert (cut[1].float() / 2 - others["x"])[core].abs().max() <= 2


def test_without_scale_or_flip_a_crop_is_a_part_of_the_image():
    image, maps = coordinates()
    cut, others = crop_and_flip(image, maps, crop_px=32, scale=(1, 1), flip=False, rng=np.random.default_rng(0))
    top, left = int(others["y"][0, 0]), int(others["x"][0, 0])
    torch.testing.assert_close(cut, image[:, top : top + 32, left : left + 32])


def test_outside_of_the_image_lies_the_mean_colour_and_the_given_value():
    image, maps = coordinates()
    cut, others = crop_and_flip(image, maps, crop_px=200, scale=(1, 1), flip=False, rng=np.random.default_rng(0))
    outside = others["y"] < 0
    assert int((~outside).sum()) == HEIGHT * WIDTH
    assert {tuple(pixel) for pixel in cut[:, outside].T.tolist()} == {MEAN_RGB}


def test_half_of_the_samples_are_mirrored():
    image, maps = coordinates()
    rng = np.random.default_rng(0)
    mirrored = 0
    for _ in range(200):
        _, others = crop_and_flip(image, maps, crop_px=16, scale=(1, 1), flip=True, rng=rng)
        mirrored += int(others["x"][0, 0] > others["x"][0, 1])
    assert 70 < mirrored < 130


def test_a_smaller_factor_shows_more_of_the_image():
    image, maps = coordinates()
    spans = []
    for factor in (0.5, 1.0, 2.0):
        scale = (factor, factor)
        _, others = crop_and_flip(image, maps, crop_px=40, scale=scale, flip=False, rng=np.random.default_rng(1))
        spans.append(int(others["x"].max() - others["x"].min()))
    assert spans == [pytest.approx(79, abs=2), 39, pytest.approx(19, abs=1)]


def test_the_same_generator_gives_the_same_sample():
    image, maps = coordinates()
    first, again = (
        crop_and_flip(image, maps, crop_px=50, scale=(0.5, 2), flip=True, rng=np.random.default_rng(7))[0]
        for _ in range(2)
    )
    torch.testing.assert_close(first, again)


def test_jitter_moves_colours_and_nothing_else():
    image, _ = coordinates()
    changed = jitter_colors(image, strength=0.3, rng=np.random.default_rng(0))
    assert changed.shape == image.shape
    assert changed.dtype == torch.uint8
    assert (changed != image).any()
    torch.testing.assert_close(jitter_colors(image, strength=0, rng=np.random.default_rng(0)), image)
