"""The network: three maps at the size of the input, for every decoder."""

import pytest
import torch

from bestie.errors import InputError
from bestie.method.backbones import create_backbone
from bestie.method.decoders import ARCHITECTURES
from bestie.method.network import BestieNetwork


def make_network(decoder: str = "fuse", **options: object) -> BestieNetwork:
    torch.manual_seed(0)
    return BestieNetwork(create_backbone("test_resnet"), num_classes=4, decoder=decoder, width=16, **options).eval()


@pytest.mark.parametrize("decoder", ARCHITECTURES)
def test_maps_have_the_size_of_the_image(decoder: str):
    with torch.no_grad():
        outputs = make_network(decoder)(torch.randn(2, 3, 64, 96))
    assert outputs.semantic.shape == (2, 5, 64, 96)
    assert outputs.center.shape == (2, 4, 64, 96)
    assert outputs.offset.shape == (2, 2, 64, 96)
    assert all(each.dtype == torch.float32 for each in outputs)


def test_maps_can_stay_at_the_finest_stride():
    with torch.no_grad():
        outputs = make_network()(torch.randn(1, 3, 64, 96), full_size=False)
    assert outputs.semantic.shape[-2:] == (16, 24)


def test_one_center_map_for_all_classes_is_an_option():
    with torch.no_grad():
        assert make_network(class_wise=False)(torch.randn(1, 3, 64, 64)).center.shape == (1, 1, 64, 64)


def test_centers_start_near_zero():
    with torch.no_grad():
        assert make_network()(torch.randn(1, 3, 64, 64)).center.abs().max() < 0.5


@pytest.mark.parametrize("decoder", ARCHITECTURES)
def test_every_weight_has_a_gradient(decoder: str):
    network = make_network(decoder).train()
    outputs = network(torch.randn(2, 3, 64, 64))
    sum(each.square().mean() for each in outputs).backward()
    without = [n for n, p in network.named_parameters() if p.grad is None]
    # A dilated backbone computes maps that nobody reads only where `stages` was not set.
    assert [name for name in without if not name.startswith("backbone.")] == []


def test_an_unknown_decoder_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match="decoder 'unet' does not exist; choose one of fuse, panoptic_deeplab, hrnet"):
        make_network("unet")
