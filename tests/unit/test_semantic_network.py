"""The network for own semantic maps: what it sees, and how its maps are made."""

import pytest
import torch
from torch.nn import functional as F

from bestie.method.backbones import create_backbone
from bestie.method.semantic_network import SemanticNetwork


@pytest.fixture
def network() -> SemanticNetwork:
    torch.manual_seed(0)
    return SemanticNetwork(create_backbone("test_resnet"), num_classes=3, width=16).eval()


@pytest.mark.parametrize(("height", "width"), [(64, 96), (50, 70), (20, 20)])
def test_all_maps_lie_on_one_grid(network: SemanticNetwork, height: int, width: int):
    images = torch.randint(0, 255, (2, 3, height, width), dtype=torch.uint8)
    maps = network.pyramid(images)
    assert len(maps) == len(network.backbone.channels) + 1
    grid = tuple(max(1, round(2 * side / 32)) * 32 // network.backbone.strides[-1] for side in (height, width))
    assert {each.shape[2:] for each in maps} == {grid}
    assert network(images).shape == (2, 4, *grid)


def test_the_coarsest_maps_are_those_of_both_sizes(network: SemanticNetwork):
    images = torch.randint(0, 255, (1, 3, 64, 96), dtype=torch.uint8)
    *_, small, large = network.pyramid(images)
    with torch.no_grad():
        own = network.backbone(images)[-1]
        doubled = F.interpolate(images.float(), size=(128, 192), mode="bilinear", align_corners=False)
        torch.testing.assert_close(large, network.backbone(doubled)[-1])
    torch.testing.assert_close(small, F.interpolate(own, size=large.shape[2:], mode="bilinear", align_corners=False))


def test_a_signature_has_length_one(network: SemanticNetwork):
    maps = network.pyramid(torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8))
    signature = network.signature(maps)
    assert signature.shape[1] == network.discriminants.direction.shape[1]
    torch.testing.assert_close(signature.norm(dim=1), torch.ones(1, *signature.shape[2:]))
