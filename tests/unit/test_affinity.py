"""Boundaries and the walk that they stop, compared with slow second implementations that go from cell to cell."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bestie.method.affinity import POWER, RADIUS, TINY, BoundaryHead, affinity_loss, walk

sides = st.integers(1, 6)
Cell = tuple[int, int]


def affinity(boundary: np.ndarray, one: Cell, other: Cell) -> float:
    """1 - the strongest boundary on the way between two cells, which begins at the upper one, or at the left one."""
    (y, x), (down, right) = sorted((one, other))
    steps = max(down - y, abs(right - x))
    way = [(y + round((down - y) * k / steps), x + round((right - x) * k / steps)) for k in range(steps + 1)]
    return 1 - max(boundary[cell] for cell in way)


def pairs_of(shape: tuple[int, ...]) -> list[tuple[Cell, Cell]]:
    cells = list(np.ndindex(*shape))
    return [(a, b) for a in cells for b in cells if a < b and math.dist(a, b) < RADIUS]


def loss_slowly(boundary: np.ndarray, seeds: np.ndarray) -> float:
    costs: dict[str, list[float]] = {"background": [], "object": [], "different": []}
    for image, classes in zip(boundary, seeds, strict=True):
        for one, other in pairs_of(image.shape):
            if 255 in (classes[one], classes[other]):
                continue
            alike = affinity(image, one, other)
            if classes[one] != classes[other]:
                costs["different"].append(-math.log(1 - alike + TINY))
            else:
                costs["object" if classes[one] else "background"].append(-math.log(alike + TINY))
    means = {name: np.mean(each) if each else 0.0 for name, each in costs.items()}
    return float(means["background"] / 4 + means["object"] / 4 + means["different"] / 2)


def walk_slowly(scores: np.ndarray, boundary: np.ndarray, steps: int) -> np.ndarray:
    cells = list(np.ndindex(*boundary.shape))
    chances = np.eye(len(cells))
    for one, other in pairs_of(boundary.shape):
        i, j = cells.index(one), cells.index(other)
        chances[i, j] = chances[j, i] = affinity(boundary, one, other) ** POWER
    chances /= chances.sum(1, keepdims=True)
    ends = np.linalg.matrix_power(chances, steps)
    return ((scores * (1 - boundary)).reshape(len(scores), -1) @ ends.T).reshape(scores.shape)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), height=sides, width=sides)
def test_the_loss_equals_the_slow_one(seed: int, height: int, width: int):
    rng = np.random.default_rng(seed)
    boundary = rng.random((2, height, width))
    seeds = rng.choice(np.array([0, 1, 7, 255], np.uint8), (2, height, width))
    found = affinity_loss(torch.tensor(boundary), torch.tensor(seeds))
    assert float(found) == pytest.approx(loss_slowly(boundary, seeds), rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), height=sides, width=sides, steps=st.integers(0, 4))
def test_the_walk_equals_the_slow_one(seed: int, height: int, width: int, steps: int):
    rng = np.random.default_rng(seed)
    boundary, scores = rng.random((height, width)) ** 3, rng.random((3, height, width))
    found = walk(torch.tensor(scores), torch.tensor(boundary), steps=steps)
    np.testing.assert_allclose(found.numpy(), walk_slowly(scores, boundary, steps), rtol=1e-9)


def test_no_score_grows_above_the_largest():
    torch.manual_seed(0)
    scores, boundary = torch.rand(4, 9, 11), torch.rand(9, 11)
    found = walk(scores, boundary, steps=8)
    assert 0 < found.min() <= found.max() <= scores.max()
    torch.testing.assert_close(walk(torch.ones(1, 9, 11), torch.zeros(9, 11), steps=8), torch.ones(1, 9, 11))


def test_a_walk_fills_an_object_and_stops_at_its_edge():
    edge = torch.zeros(12, 12)
    edge[2:10, 2:10] = 1
    edge[3:9, 3:9] = 0
    scores = torch.zeros(1, 12, 12)
    scores[0, 4, 4] = 1
    (found,) = walk(scores, edge, steps=64)
    inside = found[3:9, 3:9]
    assert inside.min() > 0.8 * inside.max() > 0
    assert found[:2].max() < 1e-4 * inside.min()


def test_the_gradient_draws_a_boundary_between_two_classes_and_nowhere_else():
    seeds = torch.zeros(1, 8, 12, dtype=torch.uint8)
    seeds[:, :, 8:], seeds[:, :, 6:8] = 3, 255  # nobody knows where exactly the object begins
    logits = torch.full((1, 8, 12), -1.0, requires_grad=True)
    optimizer = torch.optim.Adam([logits], 0.2)
    for _ in range(60):
        optimizer.zero_grad()
        affinity_loss(logits.sigmoid(), seeds).backward()
        optimizer.step()
    found = logits.detach().sigmoid()[0]
    assert found[1:-1, 6:8].amax(1).min() > 0.9
    assert found[:, :4].max() < 0.1
    assert found[:, 9:].max() < 0.1


def test_the_head_gives_one_probability_a_cell():
    torch.manual_seed(0)
    head = BoundaryHead([6, 10])
    found = head([torch.rand(2, 6, 5, 7), torch.rand(2, 10, 5, 7)]).detach()
    assert found.shape == (2, 5, 7)
    assert 0 < float(found.min()) <= float(found.max()) < 1
