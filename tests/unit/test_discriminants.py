"""Discriminants: what tells a class from its surroundings, and the maps that this gives."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bestie.method.discriminants import Cells, Discriminants

LEARN = {"object_from": 0.5, "context_below": 0.1, "shrinkage": 1.0, "passes": 0}


def unit(*rows: list[float]) -> torch.Tensor:
    return F.normalize(torch.tensor(rows, dtype=torch.float32), dim=1)


def drawn_cells(seed: int, *, images: int = 6, count: int = 80, channels: int = 12) -> list[Cells]:
    """Images of classes 1 and 2, with features that scatter most along two directions that tell nothing."""
    rng = torch.Generator().manual_seed(seed)
    found = []
    for number in range(images):
        categories = ((1,), (2,), (1, 2))[number % 3]
        features = torch.randn(count, channels, generator=rng) * torch.tensor([3.0, 3.0] + [0.5] * (channels - 2))
        values = torch.zeros(len(categories), count)
        for channel, category in enumerate(categories):
            inside = slice(20 * channel, 20 * channel + 20)
            features[inside, 2 + category] += 2
            values[channel, inside] = torch.rand(20, generator=rng)
        found.append(Cells(categories, F.normalize(features, dim=1), values))
    return found


def slowly(images: list[Cells], classes: int, *, object_from: float, context_below: float, shrinkage: float):
    """The same by the textbook: sample means, and the covariance of all samples that numpy gives."""
    samples = {(kind, category): [] for kind in ("object", "context") for category in range(1, classes + 1)}
    for image in images:
        best = image.values.numpy().max(0)
        for channel, category in enumerate(image.categories):
            inside = [n for n in range(len(best)) if image.values[channel, n] == best[n] >= object_from]
            around = [n for n in range(len(best)) if best[n] < context_below]
            samples["object", category] += [image.features[n].numpy() for n in inside[:60]]
            samples["context", category] += [image.features[n].numpy() for n in around[:30]]
    covariance = np.cov(np.concatenate([each for each in samples.values() if each]).T, bias=True)
    spread = covariance / np.diag(covariance).mean() + shrinkage * np.eye(len(covariance))
    means = {key: np.mean(each, axis=0) for key, each in samples.items()}
    return np.stack([np.linalg.inv(spread) @ (means["object", c] - means["context", c]) for c in range(1, classes + 1)])


@pytest.mark.parametrize("shrinkage", [0.3, 5.0])
def test_the_directions_are_those_of_the_textbook(shrinkage: float):
    discriminants, images = Discriminants(2, 12), drawn_cells(0)
    settings = {**LEARN, "shrinkage": shrinkage}
    discriminants.learn(images, **settings)
    del settings["passes"]
    expected = slowly(images, 2, **settings)
    np.testing.assert_allclose(discriminants.direction.numpy(), expected, rtol=2e-3, atol=2e-4)


def test_a_pass_more_learns_from_the_maps_of_the_one_before():
    images = drawn_cells(1)
    once, twice = Discriminants(2, 12), Discriminants(2, 12)
    once.learn(images, **LEARN)
    twice.learn(images, **{**LEARN, "passes": 1})
    maps = [once(each.features.T[:, :, None], each.categories)[..., 0] for each in images]
    again = [Cells(each.categories, each.features, values) for each, values in zip(images, maps, strict=True)]
    expected = Discriminants(2, 12)
    expected.learn(again, **{**LEARN, "context_below": 0.3})
    torch.testing.assert_close(twice.direction, expected.direction)
    assert not torch.allclose(twice.direction, once.direction, rtol=0.01)


def test_passes_mark_more_of_an_object_than_was_active():
    """An active head and an inactive back share a feature, of which the floor has nothing."""
    head, back, floor = unit([1, 1, 0, 0], [0.4, 1, 0.6, 0], [0, 0, 0.2, 1])
    features = torch.stack([head] * 5 + [back] * 10 + [floor] * 30)
    values = torch.tensor([[1.0] * 5 + [0.3] * 10 + [0.0] * 30])
    least = []
    for passes in (0, 3):
        discriminants = Discriminants(1, 4)
        discriminants.learn([Cells((1,), features, values)] * 3, **{**LEARN, "passes": passes})
        found = discriminants(features.T[:, :, None], [1])[0, :, 0]
        assert found[15:].max() < 0.1
        least.append(found[:15].min())
    assert least[1] > max(0.5, least[0] + 0.05)


def test_a_map_is_one_at_its_maximum_and_zero_on_surroundings():
    discriminants = Discriminants(2, 2)
    discriminants.direction[1] = torch.tensor([1.0, -1.0])
    features = unit([0, 1])[0][:, None, None].repeat(1, 4, 5)
    features[:, 1, 2] = torch.tensor([1.0, 0.0])
    features[:, 3, 3] = unit([1, 0.5])[0]
    maps = discriminants(features, [2])
    assert maps.shape == (1, 4, 5)
    assert maps[0, 1, 2] == 1
    assert 0 < maps[0, 3, 3] < 1
    assert np.count_nonzero(maps) == 2


def test_a_class_that_was_never_active_has_an_empty_map():
    images = drawn_cells(2)
    silent = [Cells(each.categories, each.features, each.values * (torch.tensor(each.categories) == 1)[:, None])
              for each in images]  # fmt: skip
    discriminants = Discriminants(2, 12)
    discriminants.learn(silent, **{**LEARN, "passes": 2})
    maps = discriminants(images[2].features.T[:, :, None], [1, 2])
    assert maps[1].abs().max() == 0
    assert maps[0].max() == 1


def test_without_any_cell_nothing_is_learned():
    discriminants = Discriminants(2, 12)
    discriminants.learn([], **LEARN)
    assert not discriminants.direction.any()
