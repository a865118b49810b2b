"""Class prototypes: clusters of features, and the maps that they give."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bestie.method.prototypes import Prototypes, cluster


def directions(count: int, channels: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, channels, generator=torch.Generator().manual_seed(1)), dim=1)


def test_clusters_are_found_and_have_length_one():
    generator = torch.Generator().manual_seed(0)
    centers = torch.eye(8)[:3]
    features = F.normalize(centers.repeat(50, 1) + 0.05 * torch.randn(150, 8, generator=generator), dim=1)
    found = cluster(features, 3, generator)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    assert sorted(found.argmax(1).tolist()) == [0, 1, 2]
    assert found.amax(1).min() > 0.99


def test_the_same_seed_gives_the_same_clusters():
    features = directions(200, 6)
    once, again = (cluster(features, 5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(once, again)


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_features_than_clusters_are_enough(count: int):
    features = directions(count, 4)
    found = cluster(features, 5, torch.Generator().manual_seed(0))
    assert found.shape == (5, 4)
    assert (found @ features.T).amax(1).min() > 0.999


def test_a_map_is_high_on_the_object_and_zero_on_its_surroundings():
    prototypes = Prototypes(2, 3, 8)
    objects, context = torch.eye(8)[0], torch.eye(8)[1]
    prototypes.learn(2, objects.repeat(10, 1), context.repeat(10, 1), torch.Generator().manual_seed(0))
    features = context[:, None, None].repeat(1, 4, 5).clone()
    features[:, 1, 2] = objects
    features[:, 3, 3] = F.normalize(objects + 0.5 * context, dim=0)
    maps = prototypes(features, [2])
    assert maps.shape == (1, 4, 5)
    assert maps[0, 1, 2] == 1
    assert 0 < maps[0, 3, 3] < 1
    assert np.count_nonzero(maps) == 2


def test_a_class_that_was_never_active_has_an_empty_map():
    prototypes = Prototypes(2, 3, 8)
    generator = torch.Generator().manual_seed(0)
    prototypes.learn(1, directions(20, 8), directions(20, 8)[:5], generator)
    prototypes.learn(2, torch.zeros(0, 8), directions(5, 8), generator)
    maps = prototypes(directions(12, 8).T.reshape(8, 3, 4), [1, 2])
    assert maps[1].abs().max() == 0
    assert maps[0].max() > 0
