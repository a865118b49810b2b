"""Pixel-adaptive refinement, compared with a slow second implementation that walks from pixel to pixel."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bestie.method.pixel_adaptive import refine_by_color, refine_masks, refine_scaled


def slowly(maps: np.ndarray, image: np.ndarray, steps: int, dilations: tuple[int, ...]) -> np.ndarray:
    height, width = image.shape[1:]

    def neighbors(y: int, x: int) -> list[tuple[int, int]]:
        return [
            (min(max(y + d * a, 0), height - 1), min(max(x + d * b, 0), width - 1))
            for d in dilations
            for a in (-1, 0, 1)
            for b in (-1, 0, 1)
            if a or b
        ]

    weights = {}
    for y in range(height):
        for x in range(width):
            own = image[:, y, x]
            around = np.array([image[:, ny, nx] for ny, nx in neighbors(y, x)])
            spread = np.concatenate([around, np.repeat(own[None], len(dilations), axis=0)]).std(axis=0, ddof=1)
            alike = -(np.abs(around - own) / (0.1 * spread + 1e-8)).mean(axis=1)
            weights[y, x] = np.exp(alike - alike.max()) / np.exp(alike - alike.max()).sum()
    for _ in range(steps):
        maps = np.array(
            [
                [
                    sum(w * maps[:, ny, nx] for w, (ny, nx) in zip(weights[y, x], neighbors(y, x), strict=True))
                    for x in range(width)
                ]
                for y in range(height)
            ]
        ).transpose(2, 0, 1)
    return maps


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.integers(3, 9), st.integers(3, 9), st.integers(0, 3))
def test_it_equals_the_slow_implementation(seed: int, height: int, width: int, steps: int):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (3, height, width)).astype(np.float64)
    maps = rng.random((2, height, width))
    found = refine_by_color(torch.tensor(maps), torch.tensor(image), steps=steps, dilations=(1, 3))
    np.testing.assert_allclose(found.numpy(), slowly(maps, image, steps, (1, 3)), atol=1e-9)


def test_probabilities_still_add_up_to_one():
    torch.manual_seed(0)
    maps = torch.rand(4, 20, 30).softmax(0)
    found = refine_by_color(maps, torch.rand(3, 20, 30) * 255)
    torch.testing.assert_close(found.sum(0), torch.ones(20, 30))
    assert found.min() >= 0


def test_a_rough_map_takes_the_edge_of_its_image():
    image = torch.zeros(3, 32, 32)
    image[:, :, 13:] = 200.0
    rough = torch.zeros(2, 32, 32)
    rough[1, :, 16:] = 1.0  # three columns too late
    rough[0] = 1 - rough[1]
    refined = refine_by_color(rough, image, dilations=(1, 2, 4))
    assert (refined.argmax(0)[:, 13:] == 1).all()
    assert (refined.argmax(0)[:, :13] == 0).all()


def test_an_image_of_one_color_smooths_without_a_fault():
    refined = refine_by_color(torch.eye(8)[None], torch.full((3, 8, 8), 7.0), steps=2, dilations=(1,))
    assert refined.isfinite().all()
    assert refined[0, 4, 4] < 0.4


def test_refinement_on_a_smaller_image_has_the_size_of_the_image_and_its_edge():
    image = torch.zeros(3, 60, 90)
    image[:, :, 50:] = 1
    given = torch.zeros(2, 15, 20)
    given[0, :, :13], given[1, :, 13:] = 1, 1  # its edge is at 58 px

    refined = refine_scaled(given, image, steps=20, longest_px=45)

    assert refined.shape == (2, 60, 90)
    torch.testing.assert_close(refined.sum(0), torch.ones(60, 90))
    assert (refined[0, :, :48] > 0.5).all()
    assert (refined[1, :, 52:] > 0.5).float().mean() > 0.95


def test_a_limit_above_the_size_of_the_image_changes_nothing():
    image, given = torch.rand(3, 12, 10), torch.rand(2, 12, 10)
    torch.testing.assert_close(
        refine_scaled(given, image, steps=3, longest_px=100), refine_by_color(given, image, steps=3)
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 5))
def test_masks_keep_most_of_their_pixels(seed: int, count: int):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(3, 20, 24, generator=generator)
    probability = torch.rand(count, 20, 24, generator=generator) ** torch.randint(1, 30, (count, 1, 1))
    refined = refine_scaled(probability, image, steps=4, longest_px=24) if count else probability

    masks = refine_masks(probability, image, steps=4, longest_px=24)

    assert masks.shape == (count, 20, 24)
    for mask, values, before in zip(masks, refined, probability, strict=True):
        least = int(0.85 * (before >= 0.5).sum())
        highest = sorted(values.flatten().tolist(), reverse=True)
        threshold = 0.5 if not least else max(1e-3, min(0.5, highest[least - 1]))
        assert torch.equal(mask, values >= threshold)


def test_a_mask_takes_the_edge_of_its_image_and_a_thin_one_stays():
    image = torch.zeros(3, 40, 40)
    image[:, :, 14:] = 1
    rough, thin = torch.zeros(40, 40), torch.zeros(40, 40)
    rough[:, 16:] = 1  # two columns too late
    thin[20, 16:36] = 1
    masks = refine_masks(torch.stack([rough, thin]), image, steps=10, longest_px=40)
    assert masks[0, :, 14:].all()
    assert not masks[0, :, :14].any()
    assert (refine_scaled(thin[None], image, steps=10, longest_px=40) < 0.5).all()
    assert masks[1].sum() >= 17
